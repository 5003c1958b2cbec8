//! Binds a session to its caller: its id ends in a code over issuer, subject and client.

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode},
    middleware::Next,
    response::Response,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tower_revoke::{Authenticated, core::BoxError};

const SESSION_ID: &str = "mcp-session-id";

#[derive(Clone, Debug)]
pub(crate) struct Sessions(Hmac<Sha256>);

impl Sessions {
    pub(crate) fn new() -> Result<Self, BoxError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self(Hmac::new_from_slice(&key)?))
    }

    fn code(&self, caller: &Authenticated, id: &str) -> Hmac<Sha256> {
        let client = caller.token().claims().client();
        let mut code = self.0.clone();
        for part in [caller.issuer(), caller.subject(), client, Some(id)] {
            let part = part.unwrap_or_default();
            code.update(&part.len().to_be_bytes());
            code.update(part.as_bytes());
        }
        code
    }

    fn shown(&self, caller: &Authenticated, id: &HeaderValue) -> Option<HeaderValue> {
        let id = id.to_str().ok()?;
        let code = BASE64.encode(self.code(caller, id).finalize().into_bytes());
        HeaderValue::try_from(format!("{id}.{code}")).ok()
    }

    fn known(&self, caller: &Authenticated, shown: &HeaderValue) -> Option<HeaderValue> {
        let (id, code) = shown.to_str().ok()?.rsplit_once('.')?;
        let code = BASE64.decode(code).ok()?;
        self.code(caller, id).verify_slice(&code).ok()?;
        HeaderValue::try_from(id).ok()
    }
}

/// Another caller's session is unknown: 404, as MCP has it.
pub(crate) async fn bind_session(
    State(sessions): State<Sessions>,
    caller: Authenticated,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    if let Some(id) = request.headers_mut().get_mut(SESSION_ID) {
        *id = sessions.known(&caller, id).ok_or(StatusCode::NOT_FOUND)?;
    }
    let mut response = next.run(request).await;
    if let Some(id) = response.headers_mut().get_mut(SESSION_ID) {
        let shown = sessions.shown(&caller, id);
        *id = shown.ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
    }
    Ok(response)
}
