//! The handle that programs and layers hold.

use std::{fmt, sync::Arc, time::Duration};

use tower_revoke_core::{
    Lift, ReadyError, RecordFilter, Revocation, RevocationKey, Revocations, Store, StoreError,
    TokenStatus, Use, UseOutcome, VerifiedToken,
};

use crate::{
    Export, ImportError, Inspection, ListStats, MemoryStore, Pages, RevocationListBuilder,
    operators, shared::List,
};

/// A revocation list: answers over a [`Store`], kept for a short and known time.
///
/// A cheap handle; clones are the same list. Layers take it as `Arc<dyn Revocations>`, into which
/// it turns.
///
/// Every call that asks the store fails with [`StoreError::TimedOut`] after
/// [`store_timeout`](RevocationListBuilder::store_timeout), measured by tokio's timer, which the
/// runtime must have enabled. Outside a tokio runtime a call waits as long as the store does.
#[derive(Clone)]
pub struct RevocationList(pub(crate) Arc<dyn List>);

impl RevocationList {
    /// A list over a [`MemoryStore`] of its own: for one process, forgotten when it ends.
    pub fn in_memory() -> Self {
        Self::new(MemoryStore::new())
    }

    /// A list over a store, with the default settings.
    pub fn new<S: Store>(store: S) -> Self {
        Self::builder(store).build_unchecked()
    }

    /// A list over a store, with other settings.
    pub fn builder<S: Store>(store: S) -> RevocationListBuilder<S> {
        RevocationListBuilder::new(store)
    }

    /// Ends a token, or all tokens that a rule concerns; durable when it returns. From then on
    /// this list rejects them, and every other list over the store does within its
    /// `max_staleness`. What is not said about when is filled in from the clock.
    ///
    /// # Errors
    /// The revocation may or may not have been kept: say it again.
    pub async fn revoke(&self, revocation: Revocation) -> Result<(), StoreError> {
        self.0.clone().revoke(revocation).await
    }

    /// Ends a revocation early: the only way to do so. `true` if there was one. Uses that were
    /// taken stay taken.
    ///
    /// # Errors
    /// The revocation may or may not have been lifted: say it again.
    pub async fn lift(&self, lift: Lift) -> Result<bool, StoreError> {
        self.0.clone().lift(lift).await
    }

    /// The longest life of the tokens that are checked against this list, see
    /// [`RevocationListBuilder::max_token_life`].
    pub fn max_token_life(&self) -> Option<Duration> {
        self.0.max_token_life()
    }

    /// How the token stands, if it was found good a short while ago, which takes some nanoseconds,
    /// locks nothing and allocates nothing; or if a mirror of the store is
    /// [live](crate::MirrorState::Live), or the store [answers at once](Store::ANSWERS_AT_ONCE).
    /// `None`: ask [`status`](Self::status).
    pub fn known_status(&self, token: &VerifiedToken) -> Option<TokenStatus> {
        self.0.known_status(token)
    }

    /// How the token stands. A token that was rejected before stays rejected while the store can't
    /// be asked.
    ///
    /// # Errors
    /// If the store can't answer and the last answer is too old: the caller must reject.
    pub async fn status(&self, token: &VerifiedToken) -> Result<TokenStatus, StoreError> {
        self.0.status(token).await
    }

    /// Takes one use of a token, see [`Store::take_use`]. The last use spends it.
    ///
    /// # Errors
    /// As of [`Store::take_use`]; the caller must reject.
    pub async fn take_use(&self, use_: Use) -> Result<UseOutcome, StoreError> {
        self.0.clone().take_use(use_).await
    }

    /// Gives one use back, see [`Store::return_use`].
    ///
    /// # Errors
    /// The use may or may not have been returned: say it again.
    pub async fn return_use(&self, use_: Use) -> Result<bool, StoreError> {
        self.0.clone().return_use(use_).await
    }

    /// Lets the store forget what has ended, by a clock that never steps back and with a minute to
    /// spare for clocks that differ; the number of entries dropped. Writes start one about once a
    /// minute by themselves, in a task of its own, where there is a tokio runtime. It is not bound
    /// to `store_timeout`.
    ///
    /// Rules are never dropped, unless [`max_token_life`](RevocationListBuilder::max_token_life) is
    /// set.
    ///
    /// # Errors
    /// Some entries may have been dropped; the next purge drops the rest.
    pub async fn purge(&self) -> Result<u64, StoreError> {
        self.0.purge().await
    }

    /// Waits until all that a store with a feed lists is loaded, and asks the store something, to
    /// see that it answers: a node is not ready before. Nor is it while a store that has forgotten
    /// something is being told.
    ///
    /// # Errors
    /// Fails if the store does not answer in time, with its [`StoreError`] as the source, or if loading
    /// takes longer than [`store_timeout`](RevocationListBuilder::store_timeout): loading continues, so
    /// ask again.
    pub async fn ready(&self) -> Result<(), ReadyError> {
        let ready = self.0.ready().await;
        ready.map_err(|error| ReadyError::new("the revocation list", error))
    }

    /// Whether the store has answered at least once, and nothing is on its way that
    /// [`ready`](Self::ready) waits for. For when it last did, see [`ListStats::last_answer`].
    pub fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    /// The revocations that are wanted, with who said them and why, page by page: for operators,
    /// asked of the store itself. See [the example](crate#for-operators). Uses that were taken
    /// are not among them.
    pub fn records(&self, wanted: RecordFilter) -> Pages {
        Pages::new(self.0.clone(), wanted)
    }

    /// How many revocations are wanted; it turns all their pages.
    ///
    /// # Errors
    /// As of [`Pages::next_page`].
    pub async fn count(&self, wanted: RecordFilter) -> Result<u64, StoreError> {
        let mut pages = self.records(wanted);
        let mut count = 0;
        while let Some(page) = pages.next_page().await? {
            count += page.len() as u64;
        }
        Ok(count)
    }

    /// What the store itself says about one token, or about one rule.
    ///
    /// # Errors
    /// The store does not answer, or not in time.
    pub async fn inspect(&self, key: impl Into<RevocationKey>) -> Result<Inspection, StoreError> {
        self.0.inspect(key.into()).await
    }

    /// The revocations that are wanted, as lines of JSON, for [`import`](Self::import) into this
    /// or any other store. Times are whole seconds since 1970. One line is one object:
    ///
    /// | field | |
    /// |---|---|
    /// | `v` | the version of the format: 1 |
    /// | `token` | of a token: its id, 32 hexadecimal digits. A hash: no token can be had from it |
    /// | `rule` | of a rule: `{"issuer":…}`, or `{"issuer":…,"claim":…,"value":…}` |
    /// | `digest` | instead of both, if the store knows no more: the digest of the key |
    /// | `issued_at_or_before` | of a rule: which tokens it concerns |
    /// | `until` | until when it is kept, of a token its `exp` + 300 s; `null`: for ever |
    /// | `at` | when it was said |
    /// | `by`, `reason` | who said it, and why |
    ///
    /// Later versions read what earlier ones wrote. Uses that were taken are not in it.
    pub fn export(&self, wanted: RecordFilter) -> Export {
        Export::new(self.records(wanted))
    }

    /// Says again what was [exported](Self::export): all of it is durable when this returns; the
    /// number of lines. Empty lines are passed over. To import a line twice changes nothing, and
    /// nothing that is there is shortened. A revocation that was lifted since stands again, unless
    /// only its digest is known: it is an operator who says so. Rules are kept for as long as this
    /// list's [`max_token_life`](Self::max_token_life) needs, whatever the line says.
    ///
    /// # Errors
    /// At the first line that is no revocation, or that the store did not keep. All lines before it
    /// are kept.
    pub async fn import<L: AsRef<str>>(
        &self,
        lines: impl IntoIterator<Item = L>,
    ) -> Result<u64, ImportError> {
        operators::import(&*self.0, lines.into_iter()).await
    }

    /// What the list has done so far.
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
