//! The port to the network: how keys are fetched, and how an authorization server is told.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, Uri, uri::Scheme};

use crate::{BoxError, BoxFuture};

/// Sends HTTP requests. `HttpsClient` of tower-revoke-http is one; bring your own for a proxy, a
/// client certificate, or a test.
///
/// It follows no redirect (a 3xx is an answer), retries nothing, and may be dropped at any time:
/// the caller sets the time limit.
pub trait HttpClient: fmt::Debug + Send + Sync + 'static {
    /// Sends `request` and reads the whole answer.
    ///
    /// # Errors
    /// [`HttpClientError::TooLarge`] as soon as the body has more than `limit` bytes, or says so;
    /// [`HttpClientError::Failed`] if no whole answer came. Statuses are no errors.
    fn send(
        &self,
        request: Request<Bytes>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Response<Bytes>, HttpClientError>>;
}

impl<C: HttpClient + ?Sized> HttpClient for Arc<C> {
    fn send(
        &self,
        request: Request<Bytes>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Response<Bytes>, HttpClientError>> {
        (**self).send(request, limit)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpClientError {
    /// The body is longer than the caller takes.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// The server could not be reached, or its answer broke off.
    #[error("the request failed")]
    Failed(#[source] BoxError),
}

/// The URL of a server's endpoint: `https`, or plain `http` on the loopback or by name.
///
/// ```
/// use tower_revoke_core::{Endpoint, EndpointError};
///
/// assert!(Endpoint::new("https://id.example.com/revoke").is_ok());
/// assert!(Endpoint::new("http://127.0.0.1:8080/revoke").is_ok());
/// assert!(matches!(
///     Endpoint::new("http://id.example.com/revoke"),
///     Err(EndpointError::PlainHttp(_)),
/// ));
/// assert!(Endpoint::plain_http("http://id.internal/revoke").is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Uri);

/// A URL that can't be an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Not an absolute `http` or `https` URL, or one with user information.
    #[error("`{0}` is no http or https URL")]
    NoUrl(String),
    /// Tokens and keys would be sent in the clear.
    #[error("`{0}` is plain http; use https, or allow it by name")]
    PlainHttp(String),
}

impl Endpoint {
    /// An `https` URL, or an `http` one whose host is `localhost` or a loopback address.
    ///
    /// # Errors
    /// [`EndpointError`], which names the URL.
    pub fn new(url: &str) -> Result<Self, EndpointError> {
        let endpoint = Self::plain_http(url)?;
        if endpoint.0.scheme() == Some(&Scheme::HTTPS) || endpoint.is_loopback() {
            Ok(endpoint)
        } else {
            Err(EndpointError::PlainHttp(url.to_owned()))
        }
    }

    /// An `https` or `http` URL of any host: for a network that is trusted with the tokens.
    ///
    /// # Errors
    /// [`EndpointError::NoUrl`].
    pub fn plain_http(url: &str) -> Result<Self, EndpointError> {
        let no_url = || EndpointError::NoUrl(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| no_url())?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_user = uri
            .authority()
            .is_some_and(|host| host.as_str().contains('@'));
        if !is_http || has_user || uri.host().is_none_or(str::is_empty) {
            return Err(no_url());
        }
        Ok(Self(uri))
    }

    /// The URL.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    fn is_loopback(&self) -> bool {
        let host = self.0.host().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || address
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_the_loopback_or_by_name() {
        for url in [
            "https://id.example.com/",
            "https://id.example.com:8443/a?b=c",
            "http://localhost:8080/",
            "http://127.0.0.1/",
            "http://127.9.9.9/",
            "http://[::1]:80/",
        ] {
            assert!(Endpoint::new(url).is_ok(), "{url}");
        }
        for url in [
            "http://id.example.com/",
            "http://10.0.0.1/",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "http://[::2]/",
        ] {
            let error = Endpoint::new(url).unwrap_err();
            assert_eq!(error, EndpointError::PlainHttp(url.to_owned()));
            assert!(Endpoint::plain_http(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "/path",
            "ftp://a/",
            "id.example.com",
            "http://user@localhost/",
            "a b",
        ] {
            let error = Endpoint::new(url).unwrap_err();
            assert_eq!(error, EndpointError::NoUrl(url.to_owned()));
        }
    }
}
