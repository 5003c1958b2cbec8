//! A small authorization server for the examples, so that they start without any setup.
//!
//! It issues a token to anyone who asks, where a real deployment has Keycloak or WSO2. Its
//! responses to resource servers are those of a real one.
//!
//! * `POST /token?subject=…&audience=…&scope=…` returns a token that is valid for an hour, as plain
//!   text. With `&expired` it has expired.
//! * `GET /.well-known/openid-configuration` and `GET /keys` are OpenID Connect Discovery 1.0 and
//!   the public keys.
//! * `POST /revoke` is RFC 7009, for client `orders` with the secret `secret`. It returns 200 with
//!   an empty body of type `text/html`, as WSO2 does.
//! * `POST /introspect` is RFC 7662 for the same client. It returns only `active`.

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tower_revoke_testing::{TestIssuer, TestToken};

/// The id of the client that may revoke and introspect.
pub const CLIENT_ID: &str = "orders";
/// The secret of that client.
pub const CLIENT_SECRET: &str = "secret";
/// The credentials of that client as an `Authorization` value: `Basic base64(orders:secret)`.
const BASIC: &str = "Basic b3JkZXJzOnNlY3JldA==";

/// An authorization server on a free loopback port. It stops when dropped.
#[derive(Debug)]
pub struct Issuer {
    shared: Arc<Shared>,
    task: JoinHandle<io::Result<()>>,
}

#[derive(Debug)]
struct Shared {
    keys: TestIssuer,
    revoked: Mutex<HashSet<String>>,
}

impl Issuer {
    /// Starts a server on a free port.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start() -> io::Result<Self> {
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        let at: SocketAddr = socket.local_addr()?;
        let shared = Arc::new(Shared {
            keys: TestIssuer::new(format!("http://{at}")),
            revoked: Mutex::default(),
        });
        let router = router(shared.clone());
        let task = tokio::spawn(async move { axum::serve(socket, router).await });
        Ok(Self { shared, task })
    }

    /// Returns its URL, which is the `iss` of its tokens: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        self.shared.keys.issuer()
    }

    /// Returns an unsigned token that is valid for an hour.
    pub fn token(&self) -> TestToken<'_> {
        self.shared.keys.token()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/token", post(token))
        .route("/.well-known/openid-configuration", get(metadata))
        .route("/keys", get(keys))
        .route("/revoke", post(revoke))
        .route("/introspect", post(introspect))
        .with_state(shared)
}

#[derive(Deserialize)]
struct RecordFilter {
    subject: Option<String>,
    audience: Option<String>,
    scope: Option<String>,
    expired: Option<String>,
}

async fn token(State(shared): State<Arc<Shared>>, Query(wanted): Query<RecordFilter>) -> String {
    let mut token = shared
        .keys
        .token()
        .subject(wanted.subject.as_deref().unwrap_or("ann"))
        .audience(wanted.audience.as_deref().unwrap_or("orders"));
    if let Some(scope) = &wanted.scope {
        token = token.scope(scope);
    }
    if wanted.expired.is_some() {
        token = token.expired();
    }
    token.sign()
}

async fn metadata(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let issuer = shared.keys.issuer();
    Json(json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/keys"),
        "token_endpoint": format!("{issuer}/token"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "introspection_endpoint": format!("{issuer}/introspect"),
    }))
}

async fn keys(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.keys.jwks())
}

#[derive(Deserialize)]
struct Presented {
    token: String,
}

async fn revoke(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(presented): Form<Presented>,
) -> Result<impl IntoResponse, StatusCode> {
    authenticate(&headers)?;
    shared.revoked().insert(presented.token);
    let headers = [
        (header::CONTENT_TYPE, "text/html"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, ""))
}

async fn introspect(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(presented): Form<Presented>,
) -> Result<Json<Value>, StatusCode> {
    authenticate(&headers)?;
    let active = !shared.revoked().contains(&presented.token);
    Ok(Json(json!({ "active": active })))
}

fn authenticate(headers: &HeaderMap) -> Result<(), StatusCode> {
    let basic = headers.get(header::AUTHORIZATION);
    let known = basic.is_some_and(|value| value == BASIC);
    known.then_some(()).ok_or(StatusCode::UNAUTHORIZED)
}

impl Shared {
    fn revoked(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(router: &Router, path: &str, basic: &str, form: String) -> (StatusCode, String) {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, basic)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .unwrap();
        let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (head.status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_token_is_active_until_its_client_revokes_it() {
        let issuer = Issuer::start().await.unwrap();
        let router = router(issuer.shared.clone());
        let form = format!("token={}", issuer.token().audience("orders").sign());
        let active = || ask(&router, "/introspect", BASIC, form.clone());
        assert_eq!(active().await.1, r#"{"active":true}"#);
        let (status, _) = ask(&router, "/revoke", "Basic bm86bm8=", form.clone()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(active().await.1, r#"{"active":true}"#);
        let answer = ask(&router, "/revoke", BASIC, form.clone()).await;
        assert_eq!(answer, (StatusCode::OK, String::new()));
        assert_eq!(active().await.1, r#"{"active":false}"#);
    }
}
