//! A verifier that knows a few tokens, and an inner service that exposes the request it received.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body_util::Full;
use serde_json::json;
use tower::{Layer, ServiceExt, util::BoxCloneSyncService};
use tower_revoke_bearer::RequireBearerLayer;
use tower_revoke_core::{
    Authenticated, BearerToken, Claims, Reason, Rejection, RejectionBody, StoreError, TokenId,
    TokenVerifier, VerifiedToken,
};
use tower_revoke_testing::Gate;

/// Accepts the token `ann`; rejects others, some for specific reasons.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// Answers only in `verify`, once the gate is open.
    pub(crate) later: Option<Gate>,
    pub(crate) asked: Arc<AtomicUsize>,
}

pub(crate) const ALL_REASONS: [(&str, Reason); 5] = [
    ("malformed", Reason::MalformedToken),
    ("expired", Reason::Expired),
    ("revoked", Reason::Revoked),
    ("spent", Reason::Spent),
    ("bound", Reason::Bound),
];

impl Tokens {
    pub(crate) fn later(gate: &Gate) -> Self {
        Self {
            later: Some(gate.clone()),
            asked: Arc::default(),
        }
    }

    fn judge(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match token.as_str() {
            "ann" => Ok(ann()),
            "unavailable" => Err(Reason::Unavailable.into()),
            "unlisted" => Err(Rejection::list_unavailable(ann().token(), down())),
            other => {
                let known = ALL_REASONS.iter().find(|(token, _)| *token == other);
                Err(known
                    .map_or(Reason::BadSignature, |(_, reason)| *reason)
                    .into())
            }
        }
    }
}

fn down() -> StoreError {
    StoreError::Unavailable("down".into())
}

pub(crate) fn ann() -> Authenticated {
    let claims = json!({
        "iss": "https://id.example.com", "sub": "ann", "scope": "orders:read orders:list",
        "tenant": "acme", "level": 3, "roles": ["clerk"],
    });
    let claims = Claims::from_value(claims).expect("claims");
    let id = TokenId::of_jwt("https://id.example.com", "1");
    Authenticated::new(Arc::new(VerifiedToken::new(id, claims, Duration::ZERO)))
}

impl TokenVerifier for Tokens {
    fn verify_cached(&self, token: &BearerToken) -> Option<Result<Authenticated, Rejection>> {
        self.later.is_none().then(|| self.judge(token))
    }

    fn issuers(&self) -> Vec<String> {
        vec!["https://id.example.com".to_owned()]
    }

    async fn verify(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
        if let Some(gate) = &self.later {
            gate.passed().await;
        }
        self.judge(token)
    }
}

pub(crate) fn layer() -> RequireBearerLayer<Tokens> {
    RequireBearerLayer::new(Tokens::default())
}

pub(crate) type Answer = Response<RejectionBody<Full<Bytes>>>;

/// The request as the inner service received it, in the response's extensions.
#[derive(Clone, Debug)]
pub(crate) struct Seen(pub(crate) Parts);

pub(crate) type Inner = BoxCloneSyncService<Request<()>, Response<Full<Bytes>>, Infallible>;

/// Responds with 200 and the request it received, with the `Cache-Control` from the request's
/// `x-cache`.
pub(crate) fn inner() -> Inner {
    BoxCloneSyncService::new(tower::service_fn(async |request: Request<()>| {
        let mut response = Response::new(Full::from("hello"));
        if let Some(value) = request.headers().get("x-cache") {
            let headers = response.headers_mut();
            headers.insert("cache-control", value.clone());
        }
        if let Some(status) = request.headers().get("x-status") {
            *response.status_mut() = status.as_bytes().try_into().expect("a status");
        }
        response
            .extensions_mut()
            .insert(Seen(request.into_parts().0));
        Ok(response)
    }))
}

pub(crate) async fn call(layer: &RequireBearerLayer<Tokens>, request: Request<()>) -> Answer {
    let service = layer.layer(inner());
    service.oneshot(request).await.expect("no error")
}

pub(crate) fn get(uri: &str) -> http::request::Builder {
    Request::get(uri)
}

/// A request with one header.
pub(crate) fn with(name: &str, value: &str) -> Request<()> {
    build(get("/").header(name, value))
}

pub(crate) fn bearer(token: &str) -> Request<()> {
    with("authorization", &format!("Bearer {token}"))
}

pub(crate) fn build(builder: http::request::Builder) -> Request<()> {
    builder.body(()).expect("a request")
}

pub(crate) fn challenge(answer: &Answer) -> &str {
    let challenge = &answer.headers()["www-authenticate"];
    challenge.to_str().expect("text")
}

pub(crate) fn reason(answer: &Answer) -> Option<Reason> {
    answer
        .extensions()
        .get::<Rejection>()
        .map(Rejection::reason)
}

/// Returns what the inner service received, if it was called.
pub(crate) fn seen(answer: &Answer) -> Option<&Parts> {
    answer.extensions().get::<Seen>().map(|seen| &seen.0)
}

/// Returns the caller as the inner service sees it; `None` if unauthenticated.
pub(crate) fn caller(answer: &Answer) -> Option<&Authenticated> {
    seen(answer).expect("called").extensions.get()
}
