//! The revocation request (RFC 7009 §2.1).

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::{HeaderValue, Method, Request, header};
use tower_revoke_core::{Endpoint, TokenCopy};

use crate::credentials::Credentials;

/// The client credentials go into the form or the header, never both (RFC 6749 §2.3).
pub(crate) fn revocation(
    endpoint: &Endpoint,
    token: &TokenCopy,
    hint: &str,
    credentials: &Credentials,
    credentials_in_form: bool,
) -> Request<Bytes> {
    let token = token.as_str();
    let mut form = Serializer::new(String::with_capacity(token.len() + 256));
    form.append_pair("token", token);
    if !hint.is_empty() {
        form.append_pair("token_type_hint", hint);
    }
    if credentials_in_form {
        form.extend_pairs(credentials.form());
    }
    let mut request = Request::new(form.finish().into());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.uri().clone();
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(header::CONTENT_TYPE, content_type);
    if !credentials_in_form {
        headers.insert(header::AUTHORIZATION, credentials.basic());
    }
    request
}
