//! An endpoint over an in-memory list, and calls of it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::{Service, ServiceExt};
use tower_revoke_core::{
    Authenticated, BearerToken, Claims, Reason, Rejection, Revocations, TokenId, TokenStatus,
    TokenVerifier, UnixTime, VerifiedToken,
};
use tower_revoke_endpoints::{
    ClientAuthMethod, ClientAuthentication, RevocationEndpoint, SecretHash, StaticClients,
};
use tower_revoke_list::RevocationList;

pub(crate) const ISSUER: &str = "https://id.example.com";
pub(crate) const SHOP: &str = "a secret of shop, long enough to be one";
pub(crate) const BANK: &str = "a secret of bank, long enough to be one";
pub(crate) const EXP: UnixTime = UnixTime::from_secs(4_000_000_000);

/// The clients `shop` and `bank` with secrets, and the public client `cli`.
pub(crate) fn clients() -> StaticClients {
    let hash = |secret| SecretHash::of(secret).expect("a hash");
    StaticClients::new()
        .secret("shop", hash(SHOP))
        .secret("bank", hash(BANK))
        .public("cli")
}

/// The clients, with every method allowed.
pub(crate) fn any_method() -> ClientAuthentication {
    ClientAuthentication::new(clients()).methods([
        ClientAuthMethod::SecretBasic,
        ClientAuthMethod::SecretPost,
        ClientAuthMethod::None,
    ])
}

pub(crate) fn endpoint(
    clients: impl Into<ClientAuthentication>,
) -> (RevocationEndpoint, RevocationList) {
    let list = RevocationList::in_memory();
    let endpoint = RevocationEndpoint::new(list.clone(), clients);
    (endpoint.verifier(Tokens::of(&list)), list)
}

/// A verifier of tokens of the form `client.number`.
pub(crate) struct Tokens {
    pub(crate) list: RevocationList,
    pub(crate) is_down: bool,
}

impl Tokens {
    pub(crate) fn of(list: &RevocationList) -> Self {
        Self {
            list: list.clone(),
            is_down: false,
        }
    }
}

fn token(text: &str) -> VerifiedToken {
    let client = text.split('.').next();
    let claims = serde_json::json!({
        "iss": ISSUER, "client_id": client, "iat": 1, "exp": EXP.as_secs(), "grant_id": client,
        "aud": ["orders", "bank"], "scope": ["read", "write"],
    });
    let claims = Claims::from_value(claims).expect("claims");
    let token = VerifiedToken::new(TokenId::of_jwt(ISSUER, text), claims, Duration::ZERO);
    token.with_rule_claim("grant_id").expect("a string")
}

impl TokenVerifier for Tokens {
    async fn verify(&self, presented: &BearerToken) -> Result<Authenticated, Rejection> {
        if self.is_down {
            return Err(Reason::Unavailable.into());
        }
        if !presented.as_str().contains('.') {
            return Err(Reason::MalformedToken.into());
        }
        let token = token(presented.as_str());
        match self.list.status(&token).await? {
            TokenStatus::Valid => Ok(Authenticated::new(Arc::new(token))),
            _ => Err(Reason::Revoked.into()),
        }
    }
}

/// Returns whether the list holds the token revoked.
pub(crate) async fn is_revoked(list: &RevocationList, text: &str) -> bool {
    let list: Arc<dyn Revocations> = list.clone().into();
    let status = list.status(&token(text)).await;
    status.expect("a status") == TokenStatus::Revoked
}

pub(crate) fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{secret}")))
}

pub(crate) fn post(authorization: Option<&str>, form: &str) -> Request<Full<Bytes>> {
    let mut request = Request::post("/revoke")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::from(form.to_owned()))
        .expect("a request");
    if let Some(value) = authorization {
        let value = value.parse().expect("a header value");
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    request
}

/// What a client sees.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// `null` if the body is empty.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn error(&self) -> (u16, &str) {
        let error = self.body["error"].as_str();
        (self.status.as_u16(), error.unwrap_or_default())
    }
}

pub(crate) async fn call<S>(endpoint: &S, request: Request<Full<Bytes>>) -> Answer
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone,
{
    let Ok(response) = endpoint.clone().oneshot(request).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        body: match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body).expect("JSON"),
        },
    }
}
