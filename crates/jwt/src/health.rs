//! The state of fetched keys: for a readiness probe, and for metrics.

use tower_revoke_core::ReadyError;

use crate::{JwtVerifier, KeyStats};

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
        let issuers = self.issuers().iter();
        issuers.filter_map(|issuer| issuer.keys.stats()).collect()
    }
}
