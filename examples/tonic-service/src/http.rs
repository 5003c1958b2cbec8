//! The HTTP routes on the same port: readiness and a logout.

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use tower_revoke::{Authenticated, JwtVerifier, RequireBearerLayer, Revocation, RevocationList};

use crate::App;

pub(crate) fn router(app: &App, bearer: RequireBearerLayer<JwtVerifier>) -> Router {
    Router::new()
        .route("/logout", post(logout).layer(bearer))
        .with_state(app.list.clone())
        .route("/ready", get(ready).with_state(app.list.clone()))
}

/// Revokes the caller's token, for gRPC as well.
async fn logout(
    State(list): State<RevocationList>,
    caller: Authenticated,
) -> Result<&'static str, StatusCode> {
    let token = caller.token();
    let revocation =
        Revocation::of_token(token.id(), token.claims().expires_at()).because("logout");
    list.revoke(revocation)
        .await
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok("logged out\n")
}

async fn ready(State(list): State<RevocationList>) -> StatusCode {
    match list.ready().await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
