//! Properties of the sources of a token: the header, the cookie, the query, the WebSocket
//! subprotocol.
//!
//! Each source is read through the layer, with a verifier that accepts every token and records it.
//! In the input, header values are separated by a line feed, which none can contain.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{
    HeaderName, HeaderValue, Request, Response, StatusCode, Uri,
    header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
    request::Parts,
};
use tower::{Layer, Service, service_fn};
use tower_revoke_bearer::RequireBearerLayer;
use tower_revoke_core::{
    Authenticated, BearerToken, Claims, Rejection, TokenId, TokenVerifier, VerifiedToken,
};

use crate::percent::decoded;

type Layered = RequireBearerLayer<Recorder>;

/// Accepts every token, and records it.
#[derive(Clone, Default)]
struct Recorder {
    asked: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl TokenVerifier for Recorder {
    async fn verify(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(token.as_bytes().to_vec());
        let claims = Claims::from_json("{}".to_owned())?;
        let id = TokenId::of_jwt("https://id.example.com", "1");
        let token = VerifiedToken::new(id, claims, std::time::Duration::ZERO);
        Ok(Authenticated::new(Arc::new(token)))
    }
}

/// The result of a request.
struct Outcome {
    status: StatusCode,
    /// The tokens that the verifier received.
    asked: Vec<Vec<u8>>,
    /// The request as the inner service received it.
    seen: Option<Parts>,
}

fn call(configure: impl FnOnce(Layered) -> Layered, request: Request<()>) -> Outcome {
    let recorder = Recorder::default();
    let seen = Arc::new(Mutex::new(None));
    let inner = {
        let seen = seen.clone();
        service_fn(move |request: Request<()>| {
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(request.into_parts().0);
            std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(
                http_body_util::Full::<Bytes>::default(),
            )))
        })
    };
    let layer = configure(RequireBearerLayer::new(recorder.clone()));
    let response = layer.layer(inner).call(request).now_or_never();
    let Ok(response) = response.expect("nothing is pending");
    let asked = std::mem::take(
        &mut *recorder
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner),
    );
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    assert_eq!(response.status().is_success(), seen.is_some());
    Outcome {
        status: response.status(),
        asked,
        seen,
    }
}

impl Outcome {
    fn is(&self, status: StatusCode, asked: &[&[u8]]) {
        assert_eq!(self.status, status);
        assert_eq!(self.asked, asked);
    }

    /// Returns the values of a header that the inner service received.
    fn seen(&self, name: HeaderName) -> Option<Vec<&HeaderValue>> {
        let seen = self.seen.as_ref()?;
        Some(seen.headers.get_all(name).iter().collect())
    }
}

/// `b64token` of RFC 6750 §2.1.
pub(crate) fn is_b64token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &token[..token.len() - padding];
    let is_fit = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    !body.is_empty() && body.iter().all(is_fit)
}

pub(crate) fn header_values(input: &[u8]) -> Vec<HeaderValue> {
    let lines = input.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .take(8)
        .collect()
}

fn with(mut request: Request<()>, name: &HeaderName, values: &[HeaderValue]) -> Request<()> {
    for value in values {
        request.headers_mut().append(name.clone(), value.clone());
    }
    request
}

/// The credentials in an `Authorization` value (RFC 9110 §11.4, RFC 6750 §2.1); `Ok(None)` for those
/// of another scheme.
fn credentials(value: &[u8]) -> Result<Option<&[u8]>, ()> {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let scheme = value.iter().take_while(|byte| is_tchar(byte)).count();
    let (scheme, rest) = value.split_at(scheme);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(None);
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    match &rest[spaces..] {
        token if spaces > 0 && is_b64token(token) => Ok(Some(token)),
        _ => Err(()),
    }
}

/// One header with a `b64token` is read; other schemes are no credentials; everything else is a
/// 400.
pub(crate) fn authorization(input: &[u8]) {
    let values = header_values(input);
    let outcome = call(
        |layer| layer,
        with(Request::new(()), &AUTHORIZATION, &values),
    );
    let [value] = &values[..] else {
        let status = match values.len() {
            0 => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        return outcome.is(status, &[]);
    };
    match credentials(value.as_bytes()) {
        Ok(Some(token)) => outcome.is(StatusCode::OK, &[token]),
        Ok(None) => outcome.is(StatusCode::UNAUTHORIZED, &[]),
        Err(()) => outcome.is(StatusCode::BAD_REQUEST, &[]),
    }
    for seen in outcome.seen(AUTHORIZATION).into_iter().flatten() {
        assert_eq!(seen, value);
        assert!(seen.is_sensitive());
    }
}

/// Only cookies of the configured name are verified, and a single one with a token passes.
pub(crate) fn cookie(input: &[u8]) {
    let values = header_values(input);
    let request = with(Request::new(()), &COOKIE, &values);
    let outcome = call(|layer| layer.cookie("token"), request);
    let pairs = values
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let candidates: Vec<&[u8]> = pairs.filter_map(cookie_value).collect();
    for asked in &outcome.asked {
        assert!(candidates.contains(&&asked[..]) && is_b64token(asked));
    }
    match candidates[..] {
        [] => outcome.is(StatusCode::UNAUTHORIZED, &[]),
        [token] if is_b64token(token) => outcome.is(StatusCode::OK, &[token]),
        _ => {}
    }
    for seen in outcome.seen(COOKIE).into_iter().flatten() {
        assert!(seen.is_sensitive());
    }
}

/// Returns the value of the pair if it is a non-empty cookie `token` (RFC 6265 §4.1.1).
fn cookie_value(pair: &[u8]) -> Option<&[u8]> {
    let pair = pair.trim_ascii();
    let (name, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=')?);
    let value = match &value[1..] {
        [b'"', value @ .., b'"'] => value,
        value => value,
    };
    (name == b"token" && !value.is_empty()).then_some(value)
}

/// The parameter is read in any encoding and removed from the URI; all others stay unchanged.
pub(crate) fn query(input: &[u8]) {
    let Ok(query) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(uri) = format!("/p?{query}").parse::<Uri>() else {
        return;
    };
    // A fragment is never sent, so it is not part of a request's URI.
    let Some(query) = uri.query() else { return };
    let mut request = Request::new(());
    *request.uri_mut() = uri.clone();
    let outcome = call(RequireBearerLayer::query, request);

    let mut tokens = Vec::new();
    let mut others = Vec::new();
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match decoded(name) == b"access_token" {
            true => tokens.push(decoded(value)),
            false => others.push(parameter),
        }
    }
    match &tokens[..] {
        [] => return outcome.is(StatusCode::UNAUTHORIZED, &[]),
        [token] if is_b64token(token) => outcome.is(StatusCode::OK, &[token]),
        _ => return outcome.is(StatusCode::BAD_REQUEST, &[]),
    }
    let seen = outcome.seen.expect("it passed").uri;
    let expected = match others.is_empty() {
        true => "/p".to_owned(),
        false => format!("/p?{}", others.join("&")),
    };
    assert_eq!(seen.to_string(), expected);
    let left = seen.query().unwrap_or_default();
    for (name, _) in form_urlencoded::parse(left.as_bytes()) {
        assert_ne!(name, "access_token");
    }
}

/// The subprotocol with the prefix is read and removed from the list; all others stay, in order.
pub(crate) fn subprotocol(input: &[u8]) {
    const PREFIX: &[u8] = b"bearer.";
    let values = header_values(input);
    let mut request = with(Request::new(()), &SEC_WEBSOCKET_PROTOCOL, &values);
    let websocket = HeaderValue::from_static("websocket");
    request.headers_mut().insert(UPGRADE, websocket);
    let outcome = call(|layer| layer.websocket_protocol("bearer."), request);

    let items = values
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty());
    let (tokens, others): (Vec<&[u8]>, Vec<&[u8]>) =
        items.partition(|item| item.starts_with(PREFIX));
    match tokens[..] {
        [] => return outcome.is(StatusCode::UNAUTHORIZED, &[]),
        [token] if is_b64token(&token[PREFIX.len()..]) => {
            outcome.is(StatusCode::OK, &[&token[PREFIX.len()..]]);
        }
        _ => return outcome.is(StatusCode::BAD_REQUEST, &[]),
    }
    let seen = outcome.seen(SEC_WEBSOCKET_PROTOCOL).expect("it passed");
    match others.is_empty() {
        true => assert!(seen.is_empty()),
        false => assert_eq!(seen, [others.join(&b", "[..]).as_slice()]),
    }
}
