//! Who issues tokens: a test issuer behind two routes.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::Value;
use tower_revoke_testing::TestIssuer;

/// `POST /token` gives a token for `ann`, or for `?subject=…`; `GET /keys` its public keys.
pub(crate) fn router(issuer: Arc<TestIssuer>) -> Router {
    Router::new()
        .route("/token", post(token))
        .route("/keys", get(keys))
        .with_state(issuer)
}

#[derive(Deserialize)]
struct Wanted {
    subject: Option<String>,
}

async fn token(State(issuer): State<Arc<TestIssuer>>, Query(wanted): Query<Wanted>) -> String {
    let subject = wanted.subject.as_deref().unwrap_or("ann");
    issuer.token().subject(subject).audience("orders").sign()
}

async fn keys(State(issuer): State<Arc<TestIssuer>>) -> Json<Value> {
    Json(issuer.jwks())
}
