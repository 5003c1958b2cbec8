//! The readiness endpoint.

use axum::{extract::State, http::StatusCode};

use crate::app::App;

/// Reports readiness to load balancers: 503 if the revocation list is unavailable or no keys are
/// loaded.
pub(crate) async fn ready(State(app): State<App>) -> StatusCode {
    let list = app.list.ready().await.is_ok();
    let keys = app.tokens.ready().await.is_ok();
    match list && keys {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}
