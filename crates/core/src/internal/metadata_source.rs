//! Finds an endpoint in the metadata of an issuer, for all that fetch it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};

use crate::{
    DiscoveryError, Endpoint, HttpClient, HttpClientError, IssuerMetadata, MetadataFetchError,
};

/// An issuer's metadata, which is at one of two URLs, and the endpoint that is read from it.
#[derive(Clone, Debug)]
pub struct MetadataSource {
    issuer: Arc<str>,
    urls: Arc<[Endpoint; 2]>,
    endpoint: fn(&IssuerMetadata) -> Result<Endpoint, DiscoveryError>,
}

impl MetadataSource {
    /// # Errors
    /// As [`IssuerMetadata::urls`].
    pub fn new(
        issuer: &str,
        endpoint: fn(&IssuerMetadata) -> Result<Endpoint, DiscoveryError>,
    ) -> Result<Self, DiscoveryError> {
        Ok(Self {
            issuer: issuer.into(),
            urls: Arc::new(IssuerMetadata::urls(issuer)?),
            endpoint,
        })
    }

    /// Returns the URL that is tried first.
    pub fn first_url(&self) -> &Endpoint {
        &self.urls[0]
    }

    /// Fetches the metadata, and returns the endpoint. The caller limits the time.
    ///
    /// # Errors
    /// What is wrong with the second document, if there is one and the first can't be used.
    pub async fn fetch(&self, client: &dyn HttpClient) -> Result<Endpoint, MetadataFetchError> {
        let [openid, oauth] = &*self.urls;
        match self.fetch_from(openid, client).await {
            Err(first) if may_be_elsewhere(&first) => match self.fetch_from(oauth, client).await {
                Err(MetadataFetchError::Status(StatusCode::NOT_FOUND)) => Err(first),
                second => second,
            },
            first => first,
        }
    }

    async fn fetch_from(
        &self,
        url: &Endpoint,
        client: &dyn HttpClient,
    ) -> Result<Endpoint, MetadataFetchError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = url.uri().clone();
        let accept = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::ACCEPT, accept);
        let response = client.send(request, IssuerMetadata::MAX_BYTES).await;
        let response = response.map_err(MetadataFetchError::Http)?;
        match response.status() {
            StatusCode::OK => IssuerMetadata::parse(&self.issuer, response.body())
                .and_then(|metadata| (self.endpoint)(&metadata))
                .map_err(MetadataFetchError::Unusable),
            status => Err(MetadataFetchError::Status(status)),
        }
    }
}

/// Whether the endpoint may be in the other document: some servers answer any path with a page, and
/// OpenID Connect Discovery defines no revocation endpoint. Metadata of another issuer is no reason
/// to look further.
fn may_be_elsewhere(error: &MetadataFetchError) -> bool {
    matches!(
        error,
        MetadataFetchError::Status(_)
            | MetadataFetchError::Http(HttpClientError::Redirect(_))
            | MetadataFetchError::Unusable(DiscoveryError::Unreadable | DiscoveryError::Missing(_))
    )
}
