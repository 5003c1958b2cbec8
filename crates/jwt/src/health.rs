//! The state of fetched keys: for a readiness probe, and for metrics.

use std::sync::Arc;

use tower_revoke_core::ReadyError;

use crate::{
    JwtVerifier, KeyStats,
    keys::{
        KeySet,
        remote::{FetchedKeys, Remote},
    },
};

impl JwtVerifier {
    /// Waits until every issuer has trusted keys. Where there are none yet, it starts a fetch and
    /// waits for its end: call it before the service takes requests, and from its readiness probe.
    /// It needs a tokio runtime with its timer enabled.
    ///
    /// # Errors
    /// [`ReadyError`], whose source is a [`KeysUnavailable`](crate::KeysUnavailable), for the first
    /// issuer without keys. They are fetched again in the background: the next call may succeed.
    pub async fn ready(&self) -> Result<(), ReadyError> {
        let fetches: Vec<_> = self
            .fetched_keys()
            .map(|(keys, remote)| (remote, remote.start_if_untrusted(keys)))
            .collect();
        for (remote, fetch) in fetches {
            let ready = remote.ready(fetch).await;
            ready.map_err(|error| ReadyError::new("the JWT verifier", error))?;
        }
        Ok(())
    }

    /// Returns the state of the keys of each issuer whose keys are fetched.
    pub fn key_stats(&self) -> Vec<KeyStats> {
        self.fetched_keys()
            .map(|(keys, remote)| remote.stats(keys.current().len()))
            .collect()
    }

    fn fetched_keys(&self) -> impl Iterator<Item = (&Arc<KeySet>, &Remote)> {
        let issuers = self.trusted_issuers().iter();
        issuers.filter_map(|issuer| Some((&issuer.keys, issuer.keys.remote()?)))
    }
}
