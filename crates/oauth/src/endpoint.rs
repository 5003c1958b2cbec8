//! Where an endpoint of the authorization server is: given, or found in the issuer's metadata on first use.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::timeout};
use tower_revoke_core::{
    BoxError, DiscoveryError, Endpoint, HttpClient, IssuerMetadata, internal::MetadataSource,
};

#[derive(Debug)]
pub(crate) enum EndpointSource {
    Given(Endpoint),
    Discovered {
        issuer: String,
        metadata: MetadataSource,
        found: Mutex<Option<Endpoint>>,
    },
}

impl EndpointSource {
    pub(crate) fn of_issuer(
        issuer: &str,
        endpoint: fn(&IssuerMetadata) -> Result<Endpoint, DiscoveryError>,
    ) -> Result<Self, DiscoveryError> {
        Ok(Self::Discovered {
            issuer: issuer.to_owned(),
            metadata: MetadataSource::new(issuer, endpoint)?,
            found: Mutex::default(),
        })
    }

    /// The host and port, for the log. A path or a query may be secret.
    pub(crate) fn host(&self) -> String {
        let endpoint = match self {
            Self::Given(endpoint) => endpoint,
            Self::Discovered { metadata, .. } => metadata.first_url(),
        };
        let authority = endpoint.uri().authority();
        authority.map(ToString::to_string).unwrap_or_default()
    }

    /// What identifies the server: the URL of the endpoint, or the issuer.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Given(endpoint) => endpoint.uri().to_string(),
            Self::Discovered { issuer, .. } => issuer.clone(),
        }
    }

    /// The issuer, if it is known.
    pub(crate) fn issuer(&self) -> Option<&str> {
        match self {
            Self::Given(_) => None,
            Self::Discovered { issuer, .. } => Some(issuer),
        }
    }

    pub(crate) fn is_given(&self) -> bool {
        matches!(self, Self::Given(_))
    }

    /// Returns the endpoint, and discovers it first if need be. Concurrent callers share one fetch.
    ///
    /// # Errors
    /// Why there is no endpoint. It is logged, too.
    pub(crate) async fn endpoint(
        &self,
        client: &Arc<dyn HttpClient>,
        request_timeout: Duration,
    ) -> Result<Endpoint, BoxError> {
        let (metadata, found) = match self {
            Self::Given(endpoint) => return Ok(endpoint.clone()),
            Self::Discovered {
                metadata, found, ..
            } => (metadata, found),
        };
        let mut found = found.lock().await;
        if let Some(endpoint) = &*found {
            return Ok(endpoint.clone());
        }
        let endpoint = match timeout(request_timeout, metadata.fetch(&**client)).await {
            Ok(endpoint) => endpoint.map_err(BoxError::from),
            Err(_) => Err(format!("there was no response within {request_timeout:?}").into()),
        };
        let endpoint = endpoint.inspect_err(|error| {
            let (host, error) = (self.host(), &**error as &dyn std::error::Error);
            tracing::debug!(
                target: "tower_revoke::oauth",
                %host,
                error,
                "the metadata names no endpoint"
            );
        })?;
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
