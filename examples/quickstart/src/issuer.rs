//! Who issues tokens: a test issuer behind two routes.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_revoke_testing::TestIssuer;

/// `POST /token` gives a token for `ann`, or for `?subject=…`; its metadata says where its public
/// keys are (OpenID Connect Discovery 1.0).
pub(crate) fn router(issuer: Arc<TestIssuer>) -> Router {
    Router::new()
        .route("/token", post(token))
        .route("/.well-known/openid-configuration", get(metadata))
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

async fn metadata(State(issuer): State<Arc<TestIssuer>>) -> Json<Value> {
    let issuer = issuer.issuer();
    Json(json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") }))
}

async fn keys(State(issuer): State<Arc<TestIssuer>>) -> Json<Value> {
    Json(issuer.jwks())
}
