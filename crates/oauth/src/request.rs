//! The request that names a token: a revocation (RFC 7009 §2.1) or an introspection (RFC 7662 §2.1).

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::{HeaderValue, Method, Request, header};
use tower_revoke_core::{BoxError, Endpoint, UnixTime};

use crate::credentials::Credentials;

/// How a client authenticates.
pub(crate) struct Authentication<'a> {
    pub(crate) credentials: &'a Credentials,
    pub(crate) secret_in_form: bool,
    /// The audience of assertions: the issuer, or its endpoint if it is unknown.
    pub(crate) issuer: Option<&'a str>,
    pub(crate) now: UnixTime,
}

/// # Errors
/// If an assertion can't be signed.
pub(crate) fn about_token(
    endpoint: &Endpoint,
    token: &str,
    hint: &str,
    client: &Authentication<'_>,
) -> Result<Request<Bytes>, BoxError> {
    let mut form = Serializer::new(String::with_capacity(token.len() + 256));
    form.append_pair("token", token);
    if !hint.is_empty() {
        form.append_pair("token_type_hint", hint);
    }
    let url = endpoint.uri().to_string();
    let audience = client.issuer.unwrap_or(&url);
    let credentials = client.credentials;
    let authorization =
        credentials.authenticate(client.secret_in_form, audience, client.now, &mut form)?;
    let mut request = Request::new(form.finish().into());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.uri().clone();
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(header::CONTENT_TYPE, content_type);
    if let Some(authorization) = authorization {
        headers.insert(header::AUTHORIZATION, authorization);
    }
    Ok(request)
}
