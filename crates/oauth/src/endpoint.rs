//! Where the revocation endpoint is: given, or found in the issuer's metadata on first use.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::{sync::Mutex, time::timeout};
use tower_revoke_core::{DiscoveryError, Endpoint, HttpClient, HttpClientError, IssuerMetadata};

use crate::request;

#[derive(Debug)]
pub(crate) enum EndpointSource {
    Given(Endpoint),
    Discovered {
        issuer: String,
        urls: Box<[Endpoint; 2]>,
        found: Mutex<Option<Endpoint>>,
    },
}

/// Why one of the two metadata documents names no endpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MetadataError {
    #[error("there is no usable response")]
    Http(#[source] HttpClientError),
    #[error("there was no response within {0:?}")]
    TimedOut(Duration),
    #[error("the status of the response is {0}, not 200")]
    Status(StatusCode),
    #[error("the metadata can't be used")]
    Unusable(#[source] DiscoveryError),
}

impl EndpointSource {
    pub(crate) fn of_issuer(issuer: String) -> Result<Self, DiscoveryError> {
        Ok(Self::Discovered {
            urls: Box::new(IssuerMetadata::urls(&issuer)?),
            issuer,
            found: Mutex::new(None),
        })
    }

    /// The host and port, for the log. A path or a query may be secret.
    pub(crate) fn host(&self) -> String {
        let endpoint = match self {
            Self::Given(endpoint) => endpoint,
            Self::Discovered { urls, .. } => &urls[0],
        };
        let authority = endpoint.uri().authority();
        authority.map(ToString::to_string).unwrap_or_default()
    }

    pub(crate) fn is_given(&self) -> bool {
        matches!(self, Self::Given(_))
    }

    /// Returns the endpoint, and discovers it first if need be. Concurrent callers share one fetch.
    ///
    /// # Errors
    /// What is wrong with the second document, if neither names an endpoint.
    pub(crate) async fn endpoint(
        &self,
        client: &Arc<dyn HttpClient>,
        request_timeout: Duration,
    ) -> Result<Endpoint, MetadataError> {
        let (issuer, urls, found) = match self {
            Self::Given(endpoint) => return Ok(endpoint.clone()),
            Self::Discovered {
                issuer,
                urls,
                found,
            } => (issuer, urls, found),
        };
        let mut found = found.lock().await;
        if let Some(endpoint) = &*found {
            return Ok(endpoint.clone());
        }
        let [openid, oauth] = &**urls;
        let endpoint = match fetch(issuer, openid, client, request_timeout).await {
            Err(_) => fetch(issuer, oauth, client, request_timeout).await?,
            Ok(endpoint) => endpoint,
        };
        *found = Some(endpoint.clone());
        Ok(endpoint)
    }

    /// Drops a discovered endpoint, which may have moved.
    pub(crate) async fn forget(&self) {
        if let Self::Discovered { found, .. } = self {
            *found.lock().await = None;
        }
    }
}

async fn fetch(
    issuer: &str,
    url: &Endpoint,
    client: &Arc<dyn HttpClient>,
    request_timeout: Duration,
) -> Result<Endpoint, MetadataError> {
    let response = client.send(request::metadata(url), IssuerMetadata::MAX_BYTES);
    let endpoint = match timeout(request_timeout, response).await {
        Ok(Ok(response)) if response.status() == StatusCode::OK => {
            IssuerMetadata::parse(issuer, response.body())
                .and_then(|metadata| metadata.revocation_endpoint())
                .map_err(MetadataError::Unusable)
        }
        Ok(Ok(response)) => Err(MetadataError::Status(response.status())),
        Ok(Err(error)) => Err(MetadataError::Http(error)),
        Err(_) => Err(MetadataError::TimedOut(request_timeout)),
    };
    endpoint.inspect_err(|error| {
        let error = error as &dyn std::error::Error;
        tracing::debug!(%url, error, "the metadata names no revocation endpoint");
    })
}
