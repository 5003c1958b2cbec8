//! The [`RevocationList`] handle.

use std::{fmt, sync::Arc, time::Duration};

use tower_revoke_core::{
    Lift, ReadyError, RecordFilter, Revocation, RevocationKey, Revocations, StoreError,
    TokenStatus, Use, UseOutcome, VerifiedToken, internal::Audit,
};

use crate::{
    Export, ImportError, Inspection, ListStats, Pages, SnapshotError, engine::AnyEngine, operators,
};

/// A revocation list over a [`Store`](tower_revoke_core::Store), which caches the status of tokens for a bounded time.
///
/// It is a cheap handle, and its clones share one list. Layers take it as `Arc<dyn Revocations>`,
/// into which it converts.
///
/// Every call that needs the store fails with [`StoreError::TimedOut`] after
/// [`store_timeout`](crate::RevocationListBuilder::store_timeout). The tokio runtime must have its timer
/// enabled. Outside a tokio runtime there is no timeout.
#[doc(alias("blacklist", "blocklist", "denylist"))]
#[derive(Clone)]
pub struct RevocationList(pub(crate) Arc<dyn AnyEngine>);

impl RevocationList {
    /// Revokes one token, or all tokens that a rule concerns, durably when it returns.
    ///
    /// From then on this list rejects them, and every other list over the store does within its
    /// `max_staleness`. A revocation without a time gets that of the list's clock. The authorization
    /// server is not told; the layers' `also_at` does that for the tokens that they end.
    ///
    /// Each call is logged [for audit](crate#audit).
    ///
    /// # Errors
    /// If the store fails. The revocation may or may not have been stored; the caller can repeat
    /// it.
    pub async fn revoke(&self, revocation: Revocation) -> Result<(), StoreError> {
        let mut audit = Audit::new("list");
        audit.action("revoke");
        audit.revoke(self.0.clone(), revocation).await
    }

    /// Ends a revocation early. Returns `true` if the key was revoked. No other operation does so.
    ///
    /// Uses that were taken remain taken. Each call is logged [for audit](crate#audit).
    ///
    /// # Errors
    /// If the store fails. The revocation may or may not have been lifted; the caller can repeat
    /// the lift.
    pub async fn lift(&self, lift: Lift) -> Result<bool, StoreError> {
        let mut audit = Audit::new("list");
        audit.action("lift").lifts(&lift);
        let result = self.0.lift(&lift).await;
        match &result {
            Ok(true) => audit.done(),
            Ok(false) => audit.unchanged(),
            Err(error) => audit.failed(error),
        }
        result
    }

    /// Returns the longest life of the tokens that are checked against this list, see
    /// [`max_token_life`](crate::RevocationListBuilder::max_token_life).
    pub fn max_token_life(&self) -> Option<Duration> {
        self.0.max_token_life()
    }

    /// Returns the status of a token, if it is known without waiting. On `None`, call
    /// [`status`](Self::status).
    ///
    /// The status is known if a recent answer that the token is valid is cached, if the mirror is
    /// [live](crate::MirrorState::Live), or if the store [answers at once](tower_revoke_core::Store::ANSWERS_AT_ONCE).
    /// A cached answer takes some nanoseconds, no lock and no allocation.
    pub fn known_status(&self, token: &VerifiedToken) -> Option<TokenStatus> {
        self.0.known_status(token)
    }

    /// Returns the status of a token.
    ///
    /// A token that is known to be revoked or spent is still reported as such while the store is
    /// unavailable.
    ///
    /// # Errors
    /// If the store can't answer and the last answer is too old. The caller must reject the
    /// request.
    pub async fn status(&self, token: &VerifiedToken) -> Result<TokenStatus, StoreError> {
        self.0.status(token).await
    }

    /// Takes one use of a token, see [`Store::take_use`](tower_revoke_core::Store::take_use). The last use spends the token.
    ///
    /// # Errors
    /// As for [`Store::take_use`](tower_revoke_core::Store::take_use). The caller must reject the request.
    pub async fn take_use(&self, use_: Use) -> Result<UseOutcome, StoreError> {
        self.0.clone().take_use(use_).await
    }

    /// Returns one use to the token, see [`Store::return_use`](tower_revoke_core::Store::return_use).
    ///
    /// # Errors
    /// If the store fails. The use may or may not have been returned; the caller can repeat the
    /// call.
    pub async fn return_use(&self, use_: Use) -> Result<bool, StoreError> {
        self.0.clone().return_use(use_).await
    }

    /// Deletes expired entries from the store, and returns their number.
    ///
    /// It uses a clock that never steps back, and allows one minute of clock skew. In a tokio
    /// runtime, writes also start a purge about once a minute, in a separate task. `store_timeout`
    /// does not apply.
    ///
    /// Rules are never deleted, unless [`max_token_life`](crate::RevocationListBuilder::max_token_life) is
    /// set.
    ///
    /// # Errors
    /// If the store fails. Some entries may have been deleted; the next purge deletes the rest.
    pub async fn purge(&self) -> Result<u64, StoreError> {
        self.0.purge().await
    }

    /// Waits until the mirror is loaded and the store has answered a look-up.
    ///
    /// A node is not ready before, nor while the list writes back to a store that has lost entries.
    ///
    /// # Errors
    /// Fails if the store does not answer in time, with its [`StoreError`] as the source, or if loading
    /// takes longer than [`store_timeout`](crate::RevocationListBuilder::store_timeout): loading continues, so
    /// ask again.
    pub async fn ready(&self) -> Result<(), ReadyError> {
        let ready = self.0.ready().await;
        ready.map_err(|error| ReadyError::new("the revocation list", error))
    }

    /// Writes the [snapshot](crate::MirrorSnapshot) of the mirror, if one is configured. The list
    /// continues to work.
    ///
    /// Call it once the program takes no more requests.
    ///
    /// # Errors
    /// If the snapshot is not written within the limit. The last one that was written remains.
    pub async fn shutdown(&self, limit: Duration) -> Result<(), SnapshotError> {
        let saved = tokio::time::timeout(limit, self.0.save()).await;
        saved.unwrap_or(Err(SnapshotError::TimedOut(limit)))
    }

    /// Returns whether the store has answered at least once, and the mirror is neither being loaded
    /// for the first time nor written back.
    ///
    /// In a tokio runtime it also starts to load the mirror, so a probe may ask it alone. A store
    /// without a feed is asked only by [`ready`](Self::ready) and by the first request.
    ///
    /// [`ListStats::last_answer`] has the time of the last answer.
    pub fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    /// Returns the revocations that a filter selects, with their authors and reasons, page by page.
    ///
    /// They are read from the store itself, and don't include uses. See
    /// [the example](crate#for-operators).
    pub fn records(&self, filter: RecordFilter) -> Pages {
        Pages::new(self.0.clone(), filter)
    }

    /// Counts the revocations that a filter selects. It reads all their pages.
    ///
    /// # Errors
    /// As for [`Pages::next_page`].
    pub async fn count(&self, filter: RecordFilter) -> Result<u64, StoreError> {
        let mut pages = self.records(filter);
        let mut count = 0;
        while let Some(page) = pages.next_page().await? {
            count += page.len() as u64;
        }
        Ok(count)
    }

    /// Reads from the store itself how one token or one rule is listed.
    ///
    /// # Errors
    /// If the store does not answer in time.
    pub async fn inspect(&self, key: impl Into<RevocationKey>) -> Result<Inspection, StoreError> {
        operators::inspect(&*self.0, key.into()).await
    }

    /// Exports the revocations that a filter selects as lines of JSON, for [`import`](Self::import)
    /// into this or any other store.
    ///
    /// Times are whole seconds since 1970. Each line is one object:
    ///
    /// | field | |
    /// |---|---|
    /// | `v` | the version of the format: 1 |
    /// | `token` | for a token: its id, 32 hexadecimal digits; a hash, from which the token can't be recovered |
    /// | `rule` | for a rule: `{"issuer":…}`, or `{"issuer":…,"claim":…,"value":…}` |
    /// | `digest` | instead of both, if the store knows no more: the digest of the key |
    /// | `issued_at_or_before` | for a rule: the latest `iat` of the tokens that it concerns |
    /// | `spent` | `true` if the token is revoked as [spent](tower_revoke_core::RevocationKind); absent otherwise |
    /// | `until` | until when it is kept, for a token its `exp` + 300 s; `null` means for ever |
    /// | `at` | when it was made |
    /// | `by`, `reason` | its author and reason |
    ///
    /// Later versions of this crate can import files of earlier ones. Uses are not exported.
    pub fn export(&self, filter: RecordFilter) -> Export {
        Export::new(self.records(filter))
    }

    /// Imports [exported](Self::export) revocations, durably when it returns. Returns the number of
    /// lines imported; empty lines are skipped.
    ///
    /// The import is idempotent and never shortens a revocation. A revocation that was lifted since
    /// the export takes effect again, since an operator requests it, unless only its digest is
    /// known. Rules are kept as long as this list's [`max_token_life`](Self::max_token_life)
    /// requires, whatever their `until`. Each call is logged [for audit](crate#audit).
    ///
    /// # Errors
    /// At the first line that is not a revocation, or that the store did not keep. All lines before
    /// it have been stored.
    pub async fn import<L: AsRef<str>>(
        &self,
        lines: impl IntoIterator<Item = L>,
    ) -> Result<u64, ImportError> {
        operators::import(&*self.0, lines.into_iter()).await
    }

    /// Returns the counters of the list.
    pub fn stats(&self) -> ListStats {
        self.0.stats()
    }
}

impl From<RevocationList> for Arc<dyn Revocations> {
    fn from(list: RevocationList) -> Self {
        list.0
    }
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
