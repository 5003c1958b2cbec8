//! The HTTPS client that fetches keys and tells authorization servers, on reqwest and rustls.
//!
//! ```
//! use tower_revoke_http::HttpsClient;
//!
//! let client = HttpsClient::new()?;
//! # Ok::<(), tower_revoke_http::HttpsClientError>(())
//! ```

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use reqwest::redirect;
use tower_revoke_core::{BoxError, BoxFuture, HttpClient, HttpClientError};

/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// An [`HttpClient`] with pooled connections, TLS by rustls with aws-lc-rs, and the machine's trust
/// anchors. It follows no redirects, sends no cookies, and reads no proxy settings from the
/// environment.
///
/// Clones share their connections.
#[derive(Clone, Debug)]
pub struct HttpsClient {
    client: reqwest::Client,
}

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpsClientError {
    /// TLS could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[source] BoxError),
    /// A trust anchor is no certificate.
    #[error("the trust anchor is no PEM certificate")]
    TrustAnchor(#[source] BoxError),
}

impl HttpsClient {
    /// A client that trusts what the machine trusts.
    ///
    /// # Errors
    /// [`HttpsClientError::Tls`].
    pub fn new() -> Result<Self, HttpsClientError> {
        Self::build(reqwest::Client::builder())
    }

    /// A client that trusts these certificates, in PEM, and no others: for a private authority.
    ///
    /// # Errors
    /// [`HttpsClientError::TrustAnchor`] if there is none in it.
    pub fn trusting_only(pem: &[u8]) -> Result<Self, HttpsClientError> {
        let trust_anchor = |error: BoxError| HttpsClientError::TrustAnchor(error);
        let anchors = reqwest::Certificate::from_pem_bundle(pem)
            .map_err(|error| trust_anchor(error.into()))?;
        if anchors.is_empty() {
            return Err(trust_anchor("there is no certificate in it".into()));
        }
        Self::build(reqwest::Client::builder().tls_certs_only(anchors))
    }

    fn build(builder: reqwest::ClientBuilder) -> Result<Self, HttpsClientError> {
        let client = builder
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_WITHIN)
            .no_proxy()
            .build()
            .map_err(|error| HttpsClientError::Tls(error.into()))?;
        Ok(Self { client })
    }

    async fn fetch(
        &self,
        request: Request<Bytes>,
        limit: usize,
    ) -> Result<Response<Bytes>, HttpClientError> {
        let request = request.try_into().map_err(failed)?;
        let mut answer = self.client.execute(request).await.map_err(failed)?;
        let too_large = HttpClientError::TooLarge(limit);
        if answer
            .content_length()
            .is_some_and(|length| length > limit as u64)
        {
            return Err(too_large);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > limit {
                return Err(too_large);
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(body.freeze());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }
}

impl HttpClient for HttpsClient {
    fn send(
        &self,
        request: Request<Bytes>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Response<Bytes>, HttpClientError>> {
        Box::pin(self.fetch(request, limit))
    }
}

/// Without the URL, which may carry what must not be logged.
fn failed(error: reqwest::Error) -> HttpClientError {
    HttpClientError::Failed(error.without_url().into())
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, http::StatusCode, response::Redirect, routing::get};

    use super::*;

    async fn ask(path: &str, limit: usize) -> Result<Response<Bytes>, HttpClientError> {
        let endless = || {
            let block = || Ok::<_, BoxError>(Bytes::from_static(&[b'a'; 1 << 16]));
            Body::from_stream(futures_util::stream::repeat_with(block))
        };
        let router = Router::new()
            .route("/", get(async || "hello"))
            .route("/500", get(async || StatusCode::INTERNAL_SERVER_ERROR))
            .route("/elsewhere", get(async || Redirect::temporary("/")))
            .route("/endless", get(async move || endless()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let request = Request::get(format!("http://{address}{path}"));
        let client = HttpsClient::new().unwrap();
        let answer = client
            .send(request.body(Bytes::new()).unwrap(), limit)
            .await;
        server.abort();
        answer
    }

    #[tokio::test]
    async fn an_answer_comes_whole_whatever_its_status() {
        let answer = ask("/", 5).await.unwrap();
        assert_eq!(
            (answer.status(), &answer.body()[..]),
            (StatusCode::OK, &b"hello"[..])
        );
        assert_eq!(answer.headers()["content-length"], "5");
        assert_eq!(ask("/500", 5).await.unwrap().status(), 500);
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer() {
        assert_eq!(ask("/elsewhere", 5).await.unwrap().status(), 307);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_not_read_to_its_end() {
        for path in ["/", "/endless"] {
            let error = ask(path, 4).await.unwrap_err();
            assert!(matches!(error, HttpClientError::TooLarge(4)), "{error}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_error_without_the_url() {
        let client = HttpsClient::new().unwrap();
        let request = Request::get("http://127.0.0.1:1/secret")
            .body(Bytes::new())
            .unwrap();
        let error = client.send(request, 5).await.unwrap_err();
        assert!(matches!(error, HttpClientError::Failed(_)));
        assert!(!format!("{error:?}").contains("secret"));
    }

    #[test]
    fn a_trust_anchor_must_be_a_certificate() {
        for pem in ["", "no certificate"] {
            let error = HttpsClient::trusting_only(pem.as_bytes()).unwrap_err();
            assert!(matches!(error, HttpsClientError::TrustAnchor(_)), "{pem}");
        }
    }
}
