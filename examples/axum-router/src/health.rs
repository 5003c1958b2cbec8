//! Whether this node can do its work.

use axum::{extract::State, http::StatusCode};

use crate::app::App;

/// For load balancers: 503 while the list can't be asked, or there are no keys to check tokens by.
pub(crate) async fn ready(State(app): State<App>) -> StatusCode {
    let list = app.list.ready().await.is_ok();
    let keys = app.tokens.ready().await.is_ok();
    match list && keys {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}
