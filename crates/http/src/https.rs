//! The client on hyper and rustls.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier,
    client::WantsClientCert,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use tower_revoke_core::BoxError;
use tower_service::Service;

use crate::{ResponseBody, ResponseFuture};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An HTTP client with pooled connections, TLS by rustls with aws-lc-rs, and the trust anchors of
/// the machine. It speaks HTTP/1.1, and with the feature `http2` also HTTP/2; it takes 5 s at most to
/// connect. It follows no redirects, sends no cookies, and reads no proxy settings from the
/// environment.
///
/// Clones share their connections. It needs a tokio runtime when it is called.
///
/// # Examples
/// ```
/// use tower_revoke_http::HttpsClient;
///
/// let client = HttpsClient::new()?;
/// # Ok::<(), tower_revoke_http::HttpsClientError>(())
/// ```
#[derive(Clone, Debug)]
pub struct HttpsClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// Why an [`HttpsClient`] can't be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpsClientError {
    /// TLS could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[source] BoxError),
    /// The trust anchors contain no certificate, or something that is not one.
    #[error("the trust anchors are not certificates in PEM")]
    TrustAnchors(#[source] BoxError),
}

impl HttpsClient {
    /// Returns a client that trusts what the machine trusts.
    ///
    /// # Errors
    /// [`HttpsClientError::Tls`].
    pub fn new() -> Result<Self, HttpsClientError> {
        Ok(Self::with_tls(
            tls()?.try_with_platform_verifier().map_err(tls_failed)?,
        ))
    }

    /// Returns a client that trusts these certificates, in PEM, and no others: for a private
    /// authority.
    ///
    /// # Errors
    /// [`HttpsClientError::TrustAnchors`] if there is no certificate, or one that can't be read.
    pub fn trusting_only(pem: &[u8]) -> Result<Self, HttpsClientError> {
        let unreadable = |error: BoxError| HttpsClientError::TrustAnchors(error);
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| unreadable(error.into()))?;
            let added = roots.add(certificate);
            added.map_err(|error| unreadable(error.into()))?;
        }
        if roots.is_empty() {
            return Err(unreadable("there is no certificate".into()));
        }
        Ok(Self::with_tls(tls()?.with_root_certificates(roots)))
    }

    fn with_tls(config: ConfigBuilder<ClientConfig, WantsClientCert>) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(config.with_no_client_auth())
            .https_or_http();
        #[cfg(feature = "http2")]
        let https = https.enable_all_versions();
        #[cfg(not(feature = "http2"))]
        let https = https.enable_http1();
        let connector = https.wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .retry_canceled_requests(false)
            .build(connector);
        Self { client }
    }
}

/// With aws-lc-rs by name: a process-wide default provider may be another one, or none.
fn tls() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, HttpsClientError> {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(tls_failed)
}

fn tls_failed(error: rustls::Error) -> HttpsClientError {
    HttpsClientError::Tls(error.into())
}

impl Service<Request<Full<Bytes>>> for HttpsClient {
    type Response = http::Response<ResponseBody>;
    type Error = BoxError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> ResponseFuture {
        let response = self.client.request(request);
        Box::pin(async move {
            let response = response.await?;
            Ok(response.map(|body| body.map_err(BoxError::from).boxed_unsync()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trust_anchor_must_be_a_certificate() {
        const NONE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for pem in ["", "no certificate", NONE] {
            let error = HttpsClient::trusting_only(pem.as_bytes()).unwrap_err();
            assert!(matches!(error, HttpsClientError::TrustAnchors(_)), "{pem}");
        }
    }
}
