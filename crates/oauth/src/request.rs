//! The requests: for a revocation (RFC 7009 §2.1), and for an issuer's metadata (RFC 8414 §3.1).

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::{HeaderValue, Method, Request, header};
use tower_revoke_core::{Endpoint, TokenCopy};

use crate::credentials::Credentials;

/// Where the client credentials go: never both (RFC 6749 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CredentialsLocation {
    Basic,
    Form,
}

pub(crate) fn revocation(
    endpoint: &Endpoint,
    token: &TokenCopy,
    hint: &str,
    credentials: &Credentials,
    location: CredentialsLocation,
) -> Request<Bytes> {
    let token = token.as_str();
    let mut form = Serializer::new(String::with_capacity(token.len() + 256));
    form.append_pair("token", token);
    if !hint.is_empty() {
        form.append_pair("token_type_hint", hint);
    }
    if location == CredentialsLocation::Form {
        form.extend_pairs(credentials.form());
    }
    let mut request = to(endpoint, Method::POST, form.finish().into());
    request.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    if location == CredentialsLocation::Basic {
        request
            .headers_mut()
            .insert(header::AUTHORIZATION, credentials.basic());
    }
    request
}

pub(crate) fn metadata(url: &Endpoint) -> Request<Bytes> {
    to(url, Method::GET, Bytes::new())
}

fn to(endpoint: &Endpoint, method: Method, body: Bytes) -> Request<Bytes> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = endpoint.uri().clone();
    request
        .headers_mut()
        .insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    request
}
