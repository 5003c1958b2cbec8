//! Where the revocation endpoint is: given, or found in the issuer's metadata on first use.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::{sync::Mutex, time::timeout};
use tower_revoke_core::{DiscoveryError, Endpoint, HttpClient, IssuerMetadata};

use crate::request;

#[derive(Debug)]
pub(crate) enum Place {
    Given(Endpoint),
    Issued {
        issuer: String,
        urls: Box<[Endpoint; 2]>,
        found: Mutex<Option<Endpoint>>,
    },
}

/// One of the two documents.
enum Document {
    Read(Result<Endpoint, DiscoveryError>),
    Status(StatusCode),
    None,
}

impl Place {
    pub(crate) fn of_issuer(issuer: String) -> Result<Self, DiscoveryError> {
        Ok(Self::Issued {
            urls: Box::new(IssuerMetadata::urls(&issuer)?),
            issuer,
            found: Mutex::new(None),
        })
    }

    /// For the log: nothing of a path or a query.
    pub(crate) fn host(&self) -> String {
        let endpoint = match self {
            Self::Given(endpoint) => endpoint,
            Self::Issued { urls, .. } => &urls[0],
        };
        endpoint
            .uri()
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    pub(crate) fn is_known(&self) -> bool {
        matches!(self, Self::Given(_))
    }

    /// The endpoint. Of several who ask at once, one fetches.
    pub(crate) async fn endpoint(
        &self,
        client: &Arc<dyn HttpClient>,
        limit: Duration,
    ) -> Option<Endpoint> {
        let (issuer, urls, found) = match self {
            Self::Given(endpoint) => return Some(endpoint.clone()),
            Self::Issued {
                issuer,
                urls,
                found,
            } => (issuer, urls, found),
        };
        let mut found = found.lock().await;
        if found.is_none() {
            for url in urls.iter() {
                match fetch(issuer, url, client, limit).await {
                    Document::Read(Ok(endpoint)) => {
                        *found = Some(endpoint);
                        break;
                    }
                    Document::Read(Err(error)) => {
                        tracing::debug!(%url, %error, "no revocation endpoint in the metadata");
                    }
                    Document::Status(status) => {
                        tracing::debug!(%url, %status, "no metadata");
                    }
                    Document::None => tracing::debug!(%url, "no answer when asked for metadata"),
                }
            }
        }
        found.clone()
    }

    /// What was found may be wrong by now.
    pub(crate) async fn forget(&self) {
        if let Self::Issued { found, .. } = self {
            *found.lock().await = None;
        }
    }
}

async fn fetch(
    issuer: &str,
    url: &Endpoint,
    client: &Arc<dyn HttpClient>,
    limit: Duration,
) -> Document {
    let answer = client.send(request::metadata(url), IssuerMetadata::MAX_BYTES);
    match timeout(limit, answer).await {
        Ok(Ok(answer)) if answer.status() == StatusCode::OK => Document::Read(
            IssuerMetadata::parse(issuer, answer.body())
                .and_then(|metadata| metadata.revocation_endpoint()),
        ),
        Ok(Ok(answer)) => Document::Status(answer.status()),
        Ok(Err(_)) | Err(_) => Document::None,
    }
}
