//! `IntrospectionVerifier` over a scripted server.

mod answer;
mod cache;
mod outage;
mod request;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::service_fn;
use tower_revoke_core::{
    BearerToken, BoxError, ClaimNames, Clock, Endpoint, ManualClock, Reason, Revocation,
    RevocationKey, TokenHash, TokenId, TokenVerifier, UnixTime,
};
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_oauth::{
    CredentialsError, IntrospectionVerifier, IntrospectionVerifierBuilder,
    IntrospectionVerifierError, SigningAlgorithm, SigningKey,
};

use crate::support::{SECRET, answer, member, status};

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://id.example.com";

type Respond = Box<dyn Fn(&str) -> Response<Bytes> + Send>;

/// A server that answers by the token.
#[derive(Clone)]
struct Server {
    respond: Arc<Mutex<Respond>>,
    requests: Arc<Mutex<Vec<Request<Bytes>>>>,
    under_way: Arc<AtomicUsize>,
    most_under_way: Arc<AtomicUsize>,
    /// A response needs a permit.
    gate: Arc<Semaphore>,
}

impl Server {
    fn new(respond: impl Fn(&str) -> Response<Bytes> + Send + 'static) -> Self {
        Self {
            respond: Arc::new(Mutex::new(Box::new(respond))),
            requests: Arc::default(),
            under_way: Arc::default(),
            most_under_way: Arc::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }

    fn says(claims: Value) -> Self {
        Self::new(move |_| answer(200, &[], claims.to_string()))
    }

    fn now_responds(&self, respond: impl Fn(&str) -> Response<Bytes> + Send + 'static) {
        *self.respond.lock().expect("a lock") = Box::new(respond);
    }

    fn asked(&self) -> usize {
        self.requests.lock().expect("a lock").len()
    }

    async fn serve(self, request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, BoxError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let token = member(&body, "token").expect("a token");
        let request = Request::from_parts(head, body);
        self.requests.lock().expect("a lock").push(request);
        let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_under_way.fetch_max(under_way, Ordering::Relaxed);
        let end = UnderWay(self.under_way.clone());
        let permit = self.gate.acquire().await;
        drop(permit);
        drop(end);
        let response = self.respond.lock().expect("a lock")(&token);
        Ok(response.map(Full::new))
    }

    fn builder(&self) -> IntrospectionVerifierBuilder {
        let server = self.clone();
        let url = Endpoint::new("https://id.example.com/introspect").expect("a URL");
        IntrospectionVerifier::builder(ISSUER, url)
            .http_client(service_fn(move |request| server.clone().serve(request)))
    }

    fn verifier(&self) -> (IntrospectionVerifier, ManualClock) {
        let (clock, hand) = Clock::manual(UnixTime::from_secs(NOW));
        let builder = self.builder().client_credentials("shop", SECRET);
        let builder = builder.audience("orders").without_revocations();
        (builder.clock(clock).build().expect("a verifier"), hand)
    }
}

struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn active() -> Value {
    json!({
        "active": true, "sub": "ann", "aud": "orders", "client_id": "app", "scope": "orders:read",
        "iat": NOW - 10, "exp": NOW + 60, "token_type": "Bearer",
    })
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = active();
    claims[name] = value.into();
    claims
}

fn without(name: &str) -> Value {
    let mut claims = active();
    claims.as_object_mut().expect("an object").remove(name);
    claims
}

fn token(text: &str) -> BearerToken {
    BearerToken::new(text).expect("a token")
}

async fn verdict(tokens: &IntrospectionVerifier, text: &str) -> Result<String, Reason> {
    let token = token(text);
    // As a layer does.
    let caller = match tokens.verify_cached(&token) {
        Some(cached) => cached,
        None => tokens.verify(&token).await,
    };
    let caller = caller.map_err(|rejection| rejection.reason())?;
    Ok(caller.subject().unwrap_or_default().to_owned())
}
