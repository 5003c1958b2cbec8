//! The statistics of the fetched keys of one issuer.

use std::time::Duration;

use tower_revoke_core::UnixTime;

/// The state of the fetched keys of one issuer. The counts are since the verifier was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyStats {
    /// The issuer.
    pub issuer: String,
    /// Whether the issuer is one that an [`IssuerResolver`](crate::IssuerResolver) trusts now, and not
    /// one that the verifier was built with.
    pub resolved: bool,
    /// The number of keys of the issuer, with those that are not fetched.
    pub keys: usize,
    /// The time since the current keys were requested; `None` if none have been fetched yet.
    pub age: Option<Duration>,
    /// Whether the fetched keys are trusted: there are some, and they are not too old.
    pub trusted: bool,
    /// Since when every fetch has failed. `None` while they succeed.
    pub failing_since: Option<UnixTime>,
    /// Fetches, with one that is in progress.
    pub fetches: u64,
    /// Failed fetches.
    pub failures: u64,
    /// Failed fetches whose key set had no usable key.
    pub unusable: u64,
}
