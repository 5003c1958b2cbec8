//! How the keys that are fetched stand: for a readiness probe, and for metrics.

use std::time::Duration;

use crate::{JwtVerifier, KeysUnavailable};

/// How the fetched keys of one issuer stand.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyStats {
    /// Whose.
    pub issuer: String,
    /// How many keys the issuer has now, those included that were given and not fetched.
    pub keys: usize,
    /// How long ago the keys were asked for; `None`: none were fetched yet.
    pub age: Option<Duration>,
    /// Fetches that were begun.
    pub fetches: u64,
    /// Fetches that failed.
    pub failures: u64,
    /// Those of them that brought a key set without a usable key.
    pub unusable: u64,
}

impl JwtVerifier {
    /// Waits until every issuer has keys that are trusted. Where there are none yet, it starts to
    /// fetch them and waits for that one fetch; call it before the service takes requests, and from
    /// its readiness probe. It needs a tokio runtime with a timer.
    ///
    /// # Errors
    /// [`KeysUnavailable`] for the first issuer without keys. They are fetched again without being
    /// asked for: the next call may find them.
    pub async fn ready(&self) -> Result<(), KeysUnavailable> {
        let issuers = self.issuers();
        let fetches: Vec<_> = issuers.iter().map(|issuer| issuer.keys.start()).collect();
        for (issuer, fetch) in issuers.iter().zip(fetches) {
            issuer.keys.ready(fetch).await?;
        }
        Ok(())
    }

    /// How the fetched keys stand, for each issuer whose keys are fetched.
    pub fn key_stats(&self) -> Vec<KeyStats> {
        let stats = self.issuers().iter().filter_map(|issuer| {
            let standing = issuer.keys.standing()?;
            Some(KeyStats {
                issuer: issuer.name.clone(),
                keys: issuer.keys.current().len(),
                age: standing.age,
                fetches: standing.fetches,
                failures: standing.failures,
                unusable: standing.unusable,
            })
        });
        stats.collect()
    }
}
