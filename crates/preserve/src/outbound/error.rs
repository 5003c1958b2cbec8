//! The errors of the settings.

use http::header::InvalidHeaderName;
use tower_revoke_core::MalformedToken;

/// Why settings are invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not a host, nor a host with a port.
    #[error("`{0}` is not a host, with or without a port")]
    InvalidUpstream(String),
    /// The same host and port twice.
    #[error("the upstream `{0}` is named twice")]
    UpstreamNamedTwice(String),
    /// The caller's `Host` beside the proxy's own credentials: it would choose who gets them.
    #[error("the upstream `{0}` gets the proxy's credentials and can't keep the caller's Host")]
    HostBesideOwnCredentials(String),
    /// Not the name of a header.
    #[error("`{name}` is not a header name")]
    InvalidHeaderName {
        /// What was given.
        name: String,
        /// Why.
        source: InvalidHeaderName,
    },
    /// A header that means something else already, and would be dropped from every request.
    #[error("credentials can't be renamed into `{0}`, which has another meaning")]
    ReservedHeader(String),
    /// Not what `Via` can name.
    #[error("`{0}` is neither a host nor a pseudonym")]
    InvalidPseudonym(String),
    /// Not a bearer token. The token itself is not shown.
    #[error("the backend's token can't be sent")]
    InvalidToken(#[source] MalformedToken),
}
