//! Tests tokens, metadata and keys in the shape of well-known providers, at the providers' own URLs.
//!
//! The shapes are those of the pages that each test names. Keys are drawn, and a local server stands in
//! for all hosts.

mod apps;
mod entra;
mod google;
mod servers;
mod workloads;

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tower::ServiceBuilder;
use tower_revoke_core::{Authenticated, Clock, HttpClient, Reason};
use tower_revoke_http::HttpsClient;
use tower_revoke_jwt::{JwtVerifier, JwtVerifierBuilder};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use crate::support::{rejection, verify};

/// A provider whose metadata and keys are served.
struct Provider {
    keys: TestIssuer,
    address: String,
    server: JoinHandle<()>,
}

impl Provider {
    /// Serves this metadata where OpenID Connect Discovery 1.0 §4 puts it, and keys at its `jwks_uri`.
    async fn new(metadata: Value) -> Self {
        Self::with_keys(metadata, TestAlgorithm::RS256, |_| {}).await
    }

    /// `shape` changes what is published of each key.
    async fn with_keys(metadata: Value, algorithm: TestAlgorithm, shape: fn(&mut Value)) -> Self {
        let issuer = metadata["issuer"].as_str().unwrap();
        let keys = TestIssuer::with(issuer, algorithm);
        let mut jwks = keys.jwks();
        jwks["keys"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(shape);
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let pages = HashMap::from([
            (
                page(metadata["jwks_uri"].as_str().unwrap()),
                jwks.to_string(),
            ),
            (
                page(&format!("{base}/.well-known/openid-configuration")),
                metadata.to_string(),
            ),
        ]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new()
            .route("/{*page}", get(serve))
            .with_state(Arc::new(pages));
        let server = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self {
            keys,
            address,
            server,
        }
    }

    fn build(&self, builder: JwtVerifierBuilder) -> JwtVerifier {
        builder
            .http_client(self.client())
            .without_revocations()
            .build()
            .unwrap()
    }

    /// Asks the local server for the page of each URL.
    fn client(&self) -> impl HttpClient {
        let address = self.address.clone();
        ServiceBuilder::new()
            .map_request(move |mut request: Request<Full<Bytes>>| {
                let local = format!("http://{address}/{}", page(&request.uri().to_string()));
                *request.uri_mut() = local.parse::<Uri>().unwrap();
                request
            })
            .service(HttpsClient::new().unwrap())
    }

    /// Signs these claims with the current time, where they have a time.
    fn sign(&self, header: Value, claims: &Value) -> String {
        let mut all = object(json!({
            "alg": self.keys.algorithm().name(),
            "kid": self.keys.key_id(),
        }));
        all.extend(object(header));
        let now = Clock::system().now().as_secs();
        let mut claims = object(claims.clone());
        for (name, time) in [
            ("iat", now),
            ("nbf", now),
            ("auth_time", now),
            ("exp", now + 600),
        ] {
            if let Some(value) = claims.get_mut(name) {
                *value = time.into();
            }
        }
        self.keys.sign_raw(
            Value::Object(all).to_string(),
            Value::Object(claims).to_string(),
        )
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(
    State(pages): State<Arc<HashMap<String, String>>>,
    Path(page): Path<String>,
) -> Result<String, StatusCode> {
    pages.get(&page).cloned().ok_or(StatusCode::NOT_FOUND)
}

/// The page of a URL: its host and path.
fn page(url: &str) -> String {
    url.strip_prefix("https://").unwrap().to_owned()
}

fn object(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

/// These claims with some set anew, and without those that are null.
fn with(claims: &Value, changes: Value) -> Value {
    let mut claims = object(claims.clone());
    claims.extend(object(changes));
    claims.retain(|_, value| !value.is_null());
    Value::Object(claims)
}

/// The `typ` that most providers put into the header.
fn jwt() -> Value {
    json!({"typ": "JWT"})
}

async fn accepted(tokens: &JwtVerifier, token: &str) -> Authenticated {
    verify(tokens, token).await.unwrap()
}

async fn rejected(tokens: &JwtVerifier, token: &str, reason: Reason) {
    assert_eq!(rejection(tokens, token).await, reason);
}
