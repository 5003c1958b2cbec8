//! The state of fetched keys and of resolved issuers: for a readiness probe, metrics, and operators.

use std::sync::Arc;

use tower_revoke_core::{HealthCheck, HealthSource, HealthStatus, ReadyError};

use crate::{
    IssuerStats, JwtVerifier, KeyStats,
    issuers::Issuer,
    keys::{
        KeySet,
        remote::{FetchedKeys, Remote},
    },
    resolver::ResolvedIssuers,
};

impl JwtVerifier {
    /// Waits until every configured issuer has trusted keys. Where there are none yet, it starts a fetch and
    /// waits for its end: call it before the service takes requests, and from its readiness probe.
    /// It needs a tokio runtime with its timer enabled.
    ///
    /// # Errors
    /// [`ReadyError`], whose source is a [`KeysUnavailable`](crate::KeysUnavailable), for the first
    /// issuer without keys. They are fetched again in the background: the next call may succeed.
    pub async fn ready(&self) -> Result<(), ReadyError> {
        let fetches: Vec<_> = self
            .trusted_issuers()
            .configured
            .iter()
            .filter_map(fetched_keys)
            .map(|(keys, remote)| (remote, remote.start_if_untrusted(keys)))
            .collect();
        for (remote, fetch) in fetches {
            let ready = remote.ready(fetch).await;
            ready.map_err(|error| ReadyError::new("the JWT verifier", error))?;
        }
        Ok(())
    }

    /// Returns the state of the keys of each issuer whose keys are fetched, also of those that an
    /// [`IssuerResolver`](crate::IssuerResolver) trusts now.
    pub fn key_stats(&self) -> Vec<KeyStats> {
        let resolved = self
            .trusted_issuers()
            .resolved
            .as_ref()
            .map(ResolvedIssuers::trusted);
        let resolved = resolved.unwrap_or_default();
        let resolved = resolved.iter().filter_map(|it| stats(&it.issuer));
        let resolved = resolved.map(|stats| KeyStats {
            resolved: true,
            ..stats
        });
        let configured = self.trusted_issuers().configured.iter();
        configured.filter_map(stats).chain(resolved).collect()
    }

    /// Returns the state of the issuers that an [`IssuerResolver`](crate::IssuerResolver) trusts, all
    /// zero without one.
    pub fn issuer_stats(&self) -> IssuerStats {
        let resolved = self
            .trusted_issuers()
            .resolved
            .as_ref()
            .map(ResolvedIssuers::stats);
        resolved.unwrap_or_default()
    }

    /// Forgets what the [`IssuerResolver`](crate::IssuerResolver) has said of this issuer, and of its
    /// keys: its tokens are rejected unless the resolver trusts it again, also those that were verified
    /// before.
    ///
    /// Call it after a customer has left, or was added whose tokens were rejected a moment ago. It holds
    /// for this process; other nodes follow after
    /// [`issuer_max_age`](crate::JwtVerifierBuilder::issuer_max_age). To end the tokens of an issuer on
    /// all nodes at once, revoke [`RevocationKey::issuer`](tower_revoke_core::RevocationKey::issuer) too.
    ///
    /// A configured issuer is not affected.
    pub fn forget_issuer(&self, issuer: &str) {
        if let Some(resolved) = &self.trusted_issuers().resolved {
            resolved.forget(issuer);
        }
    }
}

fn fetched_keys(issuer: &Issuer) -> Option<(&Arc<KeySet>, &Remote)> {
    Some((&issuer.keys, issuer.keys.remote()?))
}

fn stats(issuer: &Issuer) -> Option<KeyStats> {
    let (keys, remote) = fetched_keys(issuer)?;
    Some(remote.stats(keys.current().len()))
}

/// The check `keys` of each configured issuer whose keys are fetched. Those of an
/// [`IssuerResolver`](crate::IssuerResolver) are not included: what is wrong with a tenant's keys is not
/// wrong with the service.
impl HealthSource for JwtVerifier {
    fn health(&self) -> Vec<HealthCheck> {
        let configured = self.trusted_issuers().configured.iter();
        configured.filter_map(stats).map(check).collect()
    }
}

fn check(stats: KeyStats) -> HealthCheck {
    let fails = stats.failing_since.is_some();
    let status = match (stats.trusted, fails) {
        (true, false) => HealthStatus::Pass,
        (true, true) => HealthStatus::Warn,
        (false, true) => HealthStatus::Fail,
        // The first token causes the first fetch.
        (false, false) => HealthStatus::Warn,
    };
    let keys = match (stats.trusted, stats.age) {
        (true, Some(age)) => format!("{}, {} s old", count(stats.keys), age.as_secs()),
        (false, None) if !fails => "not fetched yet".to_owned(),
        _ => "no trusted keys".to_owned(),
    };
    let output = match fails {
        true => format!("{keys}; fetching fails"),
        false => keys,
    };
    HealthCheck::new("keys", status, output)
        .of(stats.issuer)
        .since(stats.failing_since)
}

fn count(keys: usize) -> String {
    match keys {
        1 => "1 key".to_owned(),
        keys => format!("{keys} keys"),
    }
}
