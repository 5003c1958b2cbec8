//! What the clauses share: a fixture with its clock, handles whose calls have a time limit, and
//! keys of tokens, subjects and uses.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use tokio::task::JoinError;
use tower_revoke_core::{
    Change, ChangeFeed, Changes, Clock, Cursor, KeyDigest, Lift, Listed, ManualClock, Revocation,
    RevocationKey, Store, StoreError, TokenId, UnixTime, Use, UseId, UseOutcome,
};

use super::{Ability, Fault, Fixture};

pub(super) const ISSUER: &str = "https://id.example.com";

/// How long entries live: longer than any clause runs, so that none expires meanwhile.
pub(super) const LIFE: Duration = Duration::from_secs(6 * 3_600);

/// Returns whether the fixture lacks an ability, and prints the reason, so that the test log shows
/// what was not tested.
#[expect(clippy::print_stdout, reason = "for who reads the log of the tests")]
pub(super) fn lacks<G: Fixture>(ability: Ability) -> bool {
    let lack = G::LACKS.iter().find(|(lacked, _)| *lacked == ability);
    if let Some((_, why)) = lack {
        println!("skipped, the store lacks {ability:?}: {why}");
    }
    lack.is_some()
}

/// Returns whether the store has a feed, and checks that store and fixture agree on that.
pub(super) async fn has_feed<G: Fixture>() -> bool {
    let store = G::empty(Clock::system()).await.open().await;
    let has_feed = !lacks::<G>(Ability::Feed);
    assert_eq!(store.feed().is_some(), has_feed, "whether it has a feed");
    has_feed
}

/// A fixture, its clock, and the handle that moves the clock.
pub(super) struct World<G> {
    pub(super) fixture: G,
    pub(super) clock: Clock,
    pub(super) manual: ManualClock,
}

impl<G: Fixture> World<G> {
    pub(super) async fn new() -> Self {
        Self::on(G::empty).await
    }

    /// For a clause of the feed; `None` if the store has none.
    pub(super) async fn with_feed() -> Option<Self> {
        match has_feed::<G>().await {
            true => Some(Self::new().await),
            false => None,
        }
    }

    /// With a server to which faults may be injected.
    pub(super) async fn alone() -> Self {
        Self::on(G::alone).await
    }

    async fn on<F: Future<Output = G>>(fixture: impl FnOnce(Clock) -> F) -> Self {
        let (clock, manual) = Clock::manual(Clock::system().now());
        Self {
            fixture: fixture(clock.clone()).await,
            clock,
            manual,
        }
    }

    pub(super) async fn node(&self) -> Node<G::Store> {
        Node {
            store: Arc::new(self.fixture.open().await),
            patience: G::PATIENCE,
            clock: self.clock.clone(),
        }
    }

    pub(super) async fn nodes(&self, count: usize) -> Vec<Node<G::Store>> {
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(self.node().await);
        }
        nodes
    }

    pub(super) async fn inject(&self, fault: Fault) {
        self.fixture.inject(fault).await;
    }

    pub(super) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Returns the time `secs` seconds from now.
    pub(super) fn after(&self, secs: u64) -> UnixTime {
        self.now().saturating_add(Duration::from_secs(secs))
    }

    /// Returns a time after the end of the clause.
    pub(super) fn end(&self) -> UnixTime {
        self.now().saturating_add(LIFE)
    }

    /// Returns the time `secs` seconds after [`end`](Self::end), as an `until`.
    pub(super) fn end_plus(&self, secs: u64) -> Option<UnixTime> {
        Some(self.end().saturating_add(Duration::from_secs(secs)))
    }

    /// Returns a use of a token that outlives the clause.
    pub(super) fn new_use(&self, token: TokenId, id: u64, limit: u32) -> Use {
        new_use(token, id, limit, Some(self.end()))
    }
}

/// A node's handle to the store. A call that exceeds the time limit fails the clause.
pub(super) struct Node<S> {
    pub(super) store: Arc<S>,
    pub(super) patience: Duration,
    pub(super) clock: Clock,
}

impl<S> Clone for Node<S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            patience: self.patience,
            clock: self.clock.clone(),
        }
    }
}

impl<S: Store> Node<S> {
    pub(super) async fn in_time<T>(&self, what: &str, call: impl Future<Output = T> + Send) -> T {
        let result = tokio::time::timeout(self.patience, call).await;
        result.unwrap_or_else(|_| panic!("`{what}` did not complete within {:?}", self.patience))
    }

    async fn call<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> T {
        worked(what, self.in_time(what, call).await)
    }

    pub(super) async fn revoke(&self, revocations: &[Revocation]) {
        self.call("revoke", self.store.revoke(revocations)).await;
    }

    pub(super) async fn lift(&self, lift: &Lift) -> bool {
        self.call("lift", self.store.lift(lift)).await
    }

    pub(super) async fn look_up(&self, keys: &[KeyDigest]) -> Vec<Option<Listed>> {
        let listed = self.call("look_up", self.store.look_up(keys)).await;
        assert_eq!(listed.len(), keys.len(), "one result per key");
        listed
    }

    /// Looks up one key.
    pub(super) async fn listed(&self, key: impl Into<RevocationKey>) -> Option<Listed> {
        self.look_up(&[key.into().digest()]).await[0]
    }

    pub(super) async fn try_take(&self, use_: &Use) -> Result<UseOutcome, StoreError> {
        self.in_time("use", self.store.take_use(use_, self.clock.now()))
            .await
    }

    /// Takes a use, and repeats the call under the same id while its outcome is unknown.
    pub(super) async fn take_use(&self, use_: &Use) -> UseOutcome {
        for _ in 0..20 {
            match self.try_take(use_).await {
                Err(StoreError::Unavailable(_) | StoreError::TimedOut(_)) => {}
                answer => return worked("use", answer),
            }
        }
        worked("use, the 21st time", self.try_take(use_).await)
    }

    /// Takes a use, and returns whether it was granted.
    pub(super) async fn wins(&self, use_: &Use) -> bool {
        matches!(self.take_use(use_).await, UseOutcome::Taken { .. })
    }

    pub(super) async fn return_use(&self, use_: &Use) -> bool {
        self.call("return_use", self.store.return_use(use_)).await
    }

    pub(super) fn feed(&self) -> &dyn ChangeFeed {
        let feed = self.store.feed();
        feed.expect("a store without a feed names `Ability::Feed` in LACKS")
    }

    pub(super) async fn try_changes(&self, since: Option<&Cursor>) -> Result<Changes, StoreError> {
        self.in_time("changes", self.feed().changes(since)).await
    }

    pub(super) async fn changes(&self, since: Option<&Cursor>) -> Changes {
        self.call("changes", self.feed().changes(since)).await
    }

    pub(super) async fn restore(&self, known: &[Change]) {
        self.call("restore", self.feed().restore(known)).await;
    }

    pub(super) async fn purge(&self, before: UnixTime) -> u64 {
        self.call("purge", self.store.purge(before)).await
    }
}

pub(super) fn worked<T>(what: &str, result: Result<T, StoreError>) -> T {
    result.unwrap_or_else(|error| panic!("`{what}` failed: {error} ({error:?})"))
}

/// Runs all tasks concurrently, on several threads if the runtime has them.
pub(super) async fn at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(joined(task.await));
    }
    results
}

/// Returns the result of a task, or panics as it did.
pub(super) fn joined<T>(result: Result<T, JoinError>) -> T {
    result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

pub(super) fn token(number: u64) -> TokenId {
    TokenId::of_jwt(ISSUER, &number.to_string())
}

pub(super) fn key(number: u64) -> KeyDigest {
    KeyDigest::of_token(token(number))
}

pub(super) fn subject(number: u64) -> RevocationKey {
    RevocationKey::subject(ISSUER, number.to_string())
}

/// Returns a revocation of the token of this number.
pub(super) fn revocation(number: u64, until: Option<UnixTime>) -> Revocation {
    Revocation::of_token(token(number), None).retained(until)
}

pub(super) const fn listed_rule(issued_at_or_before: UnixTime, until: Option<UnixTime>) -> Listed {
    Listed::Rule {
        issued_at_or_before,
        until,
    }
}

pub(super) fn rule(key: RevocationKey, issued_at_or_before: UnixTime) -> Revocation {
    Revocation::rule(key, issued_at_or_before).expect("the key is that of a rule")
}

pub(super) fn new_use(token: TokenId, id: u64, limit: u32, until: Option<UnixTime>) -> Use {
    let mut bytes = [0xC1; 16];
    bytes[8..].copy_from_slice(&id.to_be_bytes());
    let limit = NonZeroU32::new(limit).expect("the limit is not zero");
    let mut use_ = Use::new(token, UseId::from_bytes(bytes), limit, None);
    use_.until = until;
    use_
}

pub(super) fn lift(key: impl Into<RevocationKey>, at: UnixTime) -> Lift {
    Lift::new(key)
        .at(at)
        .by("ann@example.com")
        .because("found again")
}
