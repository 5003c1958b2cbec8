//! Why keys could not be fetched, or are not trusted.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tower_revoke_core::{HttpClientError, MetadataFetchError};

use crate::KeySetError;

/// Why an issuer's keys could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFetchError {
    /// There is no complete response, or it is too large, or a redirect.
    #[error("there is no usable response")]
    Http(#[source] HttpClientError),
    /// There was no response within
    /// [`key_fetch_timeout`](crate::JwtVerifierBuilder::key_fetch_timeout).
    #[error("there was no response within {0:?}")]
    TimedOut(Duration),
    /// The status of the response is not 200.
    #[error("the status of the response is {0}, not 200")]
    Status(StatusCode),
    /// The URL of the keys could not be found in the issuer's metadata.
    #[error("the URL of the keys could not be found in the issuer's metadata")]
    Discovery(#[source] MetadataFetchError),
    /// The response is not a key set, or one without a usable key.
    #[error("the key set can't be used")]
    KeySet(#[source] KeySetError),
    /// There is no tokio runtime to fetch them in.
    #[error("there is no tokio runtime")]
    NoRuntime,
}

/// An issuer has no trusted keys (none have been fetched yet, or not for too long), or it may have
/// newer ones.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{issuer}: {problem}")]
pub struct KeysUnavailable {
    pub(super) issuer: Arc<str>,
    pub(super) problem: &'static str,
    #[source]
    pub(super) error: Option<Arc<KeyFetchError>>,
}

impl KeysUnavailable {
    /// Returns the issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns why the last fetch failed; `None` if it succeeded, or none has ended yet.
    pub fn error(&self) -> Option<&KeyFetchError> {
        self.error.as_deref()
    }
}
