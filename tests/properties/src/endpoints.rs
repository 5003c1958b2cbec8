//! Properties of what the endpoints of an authorization server read: client credentials and forms.
//!
//! Both are read through the revocation endpoint, with clients and tokens that record what is asked
//! of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::Full;
use tower::Service;
use tower_revoke_core::{BearerToken, BoxFuture};
use tower_revoke_endpoints::{
    AuthenticationError, ClientAuthMethod, ClientAuthentication, ClientAuthenticator,
    ClientCredentials, ResolveError, ResolvedToken, RevocationEndpoint, TokenResolver,
};
use tower_revoke_list::RevocationList;

use crate::{
    percent::decoded,
    sources::{header_values, is_b64token},
};

/// An id and a secret.
type Credentials = (String, Option<String>);

/// What the clients and the resolver were asked.
#[derive(Clone, Default)]
struct Asked {
    /// The number of credentials that are rejected first.
    rejected: usize,
    credentials: Arc<Mutex<Vec<Credentials>>>,
    tokens: Arc<Mutex<Vec<String>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientAuthenticator for Asked {
    fn authenticate<'a>(
        &'a self,
        credentials: ClientCredentials<'a>,
    ) -> BoxFuture<'a, Result<(), AuthenticationError>> {
        let mut asked = locked(&self.credentials);
        let secret = credentials.secret().map(str::to_owned);
        asked.push((credentials.id().to_owned(), secret));
        let result = match asked.len() > self.rejected {
            true => Ok(()),
            false => Err(AuthenticationError::UnknownClient),
        };
        Box::pin(std::future::ready(result))
    }
}

impl TokenResolver for Asked {
    fn resolve<'a>(
        &'a self,
        token: &'a BearerToken,
    ) -> BoxFuture<'a, Result<Option<ResolvedToken>, ResolveError>> {
        locked(&self.tokens).push(token.as_str().to_owned());
        Box::pin(std::future::ready(Ok(None)))
    }
}

impl Asked {
    /// Calls the endpoint. A rejected client would have to wait, for which there is no runtime here.
    fn call(&self, methods: &[ClientAuthMethod], request: Request<Full<Bytes>>) -> StatusCode {
        let clients = ClientAuthentication::new(self.clone()).methods(methods.iter().copied());
        let endpoint = RevocationEndpoint::new(RevocationList::in_memory(), clients);
        let answer = endpoint.resolver(self.clone()).call(request).now_or_never();
        let Ok(answer) = answer.expect("nothing is pending");
        answer.status()
    }

    fn is(&self, credentials: &[Credentials], tokens: &[&str]) {
        assert_eq!(*locked(&self.credentials), credentials);
        assert_eq!(*locked(&self.tokens), tokens);
    }
}

fn request(form: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(form.into()));
    *request.method_mut() = http::Method::POST;
    let kind = http::HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(CONTENT_TYPE, kind);
    request
}

/// Decodes a form-urlencoded word.
fn unescaped(word: &[u8]) -> String {
    let spaced: Vec<u8> = word
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    String::from_utf8_lossy(&decoded(&spaced)).into_owned()
}

/// A form has one token and one client; a parameter without a value counts as omitted, and one that
/// is repeated is a 400.
pub(crate) fn form(input: &[u8]) {
    let asked = Asked::default();
    let methods = [ClientAuthMethod::SecretPost, ClientAuthMethod::None];
    let status = asked.call(&methods, request(input.to_vec()));
    let values = |name: &str| {
        let parameters = input.split(|byte| *byte == b'&').map(|parameter| {
            let mut parts = parameter.splitn(2, |byte| *byte == b'=');
            let mut part = || unescaped(parts.next().unwrap_or_default());
            (part(), part())
        });
        let named = parameters.filter(|(field, value)| field == name && !value.is_empty());
        named.map(|(_, value)| value).collect::<Vec<_>>()
    };
    let (ids, secrets, tokens) = (
        values("client_id"),
        values("client_secret"),
        values("token"),
    );
    let expected = match (ids.len(), secrets.len(), tokens.len()) {
        (2.., ..) | (_, 2.., _) => StatusCode::BAD_REQUEST,
        (0, ..) => StatusCode::UNAUTHORIZED,
        (_, _, 1) => StatusCode::OK,
        _ => StatusCode::BAD_REQUEST,
    };
    assert_eq!(status, expected);
    if ids.len() != 1 || secrets.len() > 1 {
        return asked.is(&[], &[]);
    }
    let credentials = [(ids[0].clone(), secrets.first().cloned())];
    match &tokens[..] {
        [token] if is_b64token(token.as_bytes()) => {
            asked.is(&credentials, &[token]);
        }
        _ => asked.is(&credentials, &[]),
    }
}

/// `Basic` credentials are read as they are, and then form-decoded if that makes a difference.
pub(crate) fn basic(input: &[u8]) {
    let values = header_values(input);
    let readings = match &values[..] {
        [value] => readings(value.as_bytes()),
        _ => Vec::new(),
    };
    let asked = Asked {
        rejected: readings.len().saturating_sub(1),
        ..Asked::default()
    };
    let mut request = request("token=a.b");
    for value in &values {
        request.headers_mut().append(AUTHORIZATION, value.clone());
    }
    let status = asked.call(&[ClientAuthMethod::SecretBasic], request);
    let is_public = readings.iter().any(|(_, secret)| secret.is_none());
    match values.len() {
        2.. => assert_eq!(status, StatusCode::BAD_REQUEST),
        _ if readings.is_empty() || is_public => assert_eq!(status, StatusCode::UNAUTHORIZED),
        _ => {
            assert_eq!(status, StatusCode::OK);
            return asked.is(&readings, &["a.b"]);
        }
    }
    asked.is(&[], &[]);
}

/// The readings of an `Authorization` value (RFC 7617 §2, RFC 6749 §2.3.1).
fn readings(value: &[u8]) -> Vec<Credentials> {
    let is_text = |byte: &u8| *byte == b'\t' || (b' '..=b'~').contains(byte);
    let scheme = value.iter().position(|byte| *byte == b' ');
    let Some(scheme) = scheme.filter(|_| value.iter().all(is_text)) else {
        return Vec::new();
    };
    let (scheme, rest) = value.split_at(scheme);
    let text = from_base64(rest.trim_ascii()).and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(text) = text.filter(|_| scheme.eq_ignore_ascii_case(b"basic")) else {
        return Vec::new();
    };
    let Some((id, secret)) = text.split_once(':') else {
        return Vec::new();
    };
    let pair = |id: String, secret: String| (id, Some(secret).filter(|text| !text.is_empty()));
    let mut readings = vec![pair(id.to_owned(), secret.to_owned())];
    if text.contains(['%', '+']) {
        readings.push(pair(unescaped(id.as_bytes()), unescaped(secret.as_bytes())));
    }
    readings
}

/// Decodes base64 (RFC 4648 §4): padding may be omitted, and unused bits are 0.
fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = &text[..text.len() - padding];
    if digits.len() % 4 == 1 || padding > (4 - digits.len() % 4) % 4 {
        return None;
    }
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}
