//! The state of fetched keys: for a readiness probe, and for metrics.

use std::time::Duration;

use tower_revoke_core::ReadyError;

use crate::JwtVerifier;

/// The state of the fetched keys of one issuer. The counts are since the verifier was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyStats {
    /// The issuer.
    pub issuer: String,
    /// The number of keys of the issuer, with those that are not fetched.
    pub keys: usize,
    /// The time since the current keys were requested; `None` if none have been fetched yet.
    pub age: Option<Duration>,
    /// Fetches, with one that is in progress.
    pub fetches: u64,
    /// Failed fetches.
    pub failures: u64,
    /// Failed fetches whose key set had no usable key.
    pub unusable: u64,
}

impl JwtVerifier {
    /// Waits until every issuer has trusted keys. Where there are none yet, it starts a fetch and
    /// waits for its end: call it before the service takes requests, and from its readiness probe.
    /// It needs a tokio runtime with its timer enabled.
    ///
    /// # Errors
    /// [`ReadyError`], whose source is a [`KeysUnavailable`](crate::KeysUnavailable), for the first
    /// issuer without keys. They are fetched again in the background: the next call may succeed.
    pub async fn ready(&self) -> Result<(), ReadyError> {
        let issuers = self.issuers();
        let fetches: Vec<_> = issuers.iter().map(|issuer| issuer.keys.start()).collect();
        for (issuer, fetch) in issuers.iter().zip(fetches) {
            let ready = issuer.keys.ready(fetch).await;
            ready.map_err(|error| ReadyError::new("the JWT verifier", error))?;
        }
        Ok(())
    }

    /// Returns the state of the keys of each issuer whose keys are fetched.
    pub fn key_stats(&self) -> Vec<KeyStats> {
        let stats = self.issuers().iter().filter_map(|issuer| {
            let state = issuer.keys.fetched_state()?;
            Some(KeyStats {
                issuer: issuer.name.clone(),
                keys: issuer.keys.current().len(),
                age: state.age,
                fetches: state.fetches,
                failures: state.failures,
                unusable: state.unusable,
            })
        });
        stats.collect()
    }
}
