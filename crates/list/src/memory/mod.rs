//! A store in the memory of one process.

mod issued;
mod ledger;
mod record;

use std::{
    collections::HashMap,
    fmt,
    future::ready,
    sync::{Arc, PoisonError},
};

use tower_revoke_core::{
    BoxFuture, Change, ChangeFeed, Changes, Cursor, IssuedTokenStore, KeyDigest, Lift, LiftRecord,
    Listed, RecordFilter, RecordPage, Records, Revocation, RevocationRecord, Store, StoreError,
    UnixTime, Use, UseOutcome, internal::merge::check_use,
};

use self::{
    issued::IssuedTokens,
    ledger::{Entries, Ledger},
    record::Record,
};
use crate::sync::{Mutex, MutexGuard, SHARDS};

/// The default capacity of the feed, which takes at most about 5 MB.
const CHANGES_KEPT: usize = 65_536;

/// A [`Store`] in the memory of one process, shared by its clones.
///
/// # Durability
/// No acknowledged write is lost while the process lives, and everything is lost when it ends. No
/// entry is evicted; at its [`capacity`](Self::capacity) the store rejects new ones. For more than
/// one node, or for revocations that survive a restart, use another store.
///
/// # Examples
/// ```
/// use tower_revoke_core::{Revocation, Store, TokenId};
/// use tower_revoke_list::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_revoke_core::StoreError> {
/// let store = MemoryStore::new().capacity(1_000_000);
/// let token = TokenId::of_jwt("https://id.example.com", "42");
/// store.revoke(&[Revocation::of_token(token, None)]).await?;
/// assert_eq!(store.len(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryStore(Arc<Inner>);

struct Inner {
    shards: Box<[Mutex<Shard>]>,
    issued: Mutex<IssuedTokens>,
    /// Always locked after a shard or the issued tokens, to avoid a deadlock.
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Shard {
    records: HashMap<KeyDigest, Record>,
    /// Entries that expired before this time may have been purged.
    purged_before: Option<UnixTime>,
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            issued: Mutex::default(),
            ledger: Mutex::new(Ledger::new(CHANGES_KEPT)),
        }))
    }

    /// Sets how many revocations and rules the store may hold, and as many taken uses, and issued tokens
    /// and tickets. Unlimited by default.
    ///
    /// Each of the three has its own room, so that no number of tickets or uses keeps a token from being
    /// revoked. Where it is full the store logs an error and rejects new entries with
    /// [`StoreError::Full`]. It still prolongs those that it holds. The setting applies to all clones.
    #[must_use]
    pub fn capacity(self, entries: u64) -> Self {
        self.ledger().capacity = entries;
        self
    }

    /// Sets how many of the last changes the store keeps for [`ChangeFeed::changes`]. Defaults to
    /// 65,536.
    ///
    /// The setting applies to all clones.
    #[must_use]
    pub fn feed_capacity(self, changes: usize) -> Self {
        self.ledger().keep_changes(changes);
        self
    }

    /// Returns how many revocations, rules, taken uses and issued tokens the store holds.
    pub fn len(&self) -> u64 {
        self.ledger().entries.sum()
    }

    /// Returns whether the store is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, key: &KeyDigest) -> MutexGuard<'_, Shard> {
        locked(&self.0.shards[Self::shard_of(key)])
    }

    fn shard_of(key: &KeyDigest) -> usize {
        usize::from(key.as_bytes()[0]) % SHARDS
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        locked(&self.0.ledger)
    }

    /// Changes the record of a key, and publishes the change, as one step under the shard's lock.
    fn change<T>(
        &self,
        shard: &mut Shard,
        key: KeyDigest,
        act: impl FnOnce(&mut Record) -> Result<(T, Option<Change>), StoreError>,
    ) -> Result<T, StoreError> {
        let record = shard.records.entry(key).or_default();
        let mut ledger = self.ledger();
        let weight = record.weight();
        // A full store rejects what needs more entries, but still prolongs those it holds.
        let undo = ledger.is_full().then(|| record.clone());
        let mut done = act(record);
        if let Some(undo) = undo
            && let Err(full) = ledger.check_room(weight, record.weight())
        {
            *record = undo;
            done = Err(full);
        }
        if let Ok((_, Some(change))) = &done {
            ledger.write(*change);
        }
        ledger.weigh(weight, record.weight());
        if record.is_empty() {
            shard.records.remove(&key);
        }
        done.map(|(result, _)| result)
    }
}

impl Store for MemoryStore {
    const ANSWERS_AT_ONCE: bool = true;

    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        for revocation in revocations {
            let key = revocation.key().digest();
            self.change(&mut self.shard(&key), key, |record| {
                Ok(((), record.revoke(revocation)))
            })?;
        }
        Ok(())
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        let key = lift.key().digest();
        let mut shard = self.shard(&key);
        self.change(&mut shard, key, |record| {
            let change = record.lift(lift);
            Ok((change.is_some(), change))
        })
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        let listed = |key| self.shard(key).records.get(key)?.listed();
        Ok(keys.iter().map(listed).collect())
    }

    async fn take_use(&self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        let key = KeyDigest::of_token(use_.token);
        let mut shard = self.shard(&key);
        check_use(use_, now, shard.purged_before)?;
        self.change(&mut shard, key, |record| record.take_use(use_))
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        let key = KeyDigest::of_token(use_.token);
        let mut shard = self.shard(&key);
        self.change(&mut shard, key, |record| {
            let change = record.return_use(use_);
            Ok((change.is_some(), change.flatten()))
        })
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        let mut dropped = 0;
        for shard in &self.0.shards {
            dropped += self.purge_shard(&mut locked(shard), before);
            // Millions of entries take a while, so other tasks get a turn.
            tokio::task::yield_now().await;
        }
        Ok(dropped + self.purge_issued_tokens(before).await)
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        Some(self)
    }

    fn records(&self) -> Option<&dyn Records> {
        Some(self)
    }

    fn issued_tokens(&self) -> Option<&dyn IssuedTokenStore> {
        Some(self)
    }
}

impl ChangeFeed for MemoryStore {
    fn changes<'a>(
        &'a self,
        since: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move {
            if let Some(cursor) = since {
                return self.ledger().since(cursor);
            }
            // The end is read before the shards. A change made while they are read is then
            // delivered by the next call as well, which the contract allows; read afterwards, it
            // could be lost.
            let next = self.ledger().end();
            let mut changes = Vec::new();
            for shard in &self.0.shards {
                let shard = locked(shard);
                let all = shard.records.iter();
                changes.extend(all.flat_map(|(key, record)| record.changes(*key)));
            }
            Ok(Changes {
                changes,
                next,
                more: false,
            })
        })
    }

    fn end(&self) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
        Box::pin(ready(Ok(Some(self.ledger().end()))))
    }

    fn restore<'a>(&'a self, known: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            for change in known {
                let key = *change.key();
                self.change(&mut self.shard(&key), key, |record| {
                    Ok(((), record.restore(change)))
                })?;
            }
            Ok(())
        })
    }
}

impl MemoryStore {
    fn purge_shard(&self, shard: &mut Shard, before: UnixTime) -> u64 {
        shard.purged_before = shard.purged_before.max(Some(before));
        let (mut had, mut has) = (Entries::default(), Entries::default());
        shard.records.retain(|_, record| {
            had.add(record.weight());
            record.purge(before);
            has.add(record.weight());
            !record.is_empty()
        });
        if shard.records.len() < shard.records.capacity() / 4 {
            shard.records.shrink_to(2 * shard.records.len());
        }
        self.ledger().weigh(had, has);
        had.sum() - has.sum()
    }
}

/// Pages in the order of the shards, and of the keys within each.
impl Records for MemoryStore {
    fn page<'a>(
        &'a self,
        wanted: &'a RecordFilter,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>> {
        Box::pin(async move {
            let at_most = at_most.max(1);
            let after = after.map(last_of_page).transpose()?;
            let first = after.as_ref().map_or(0, Self::shard_of);
            let mut records = Vec::new();
            for shard in first..SHARDS {
                let wanted = |record: &RevocationRecord| {
                    wanted.wants(record)
                        && after.is_none_or(|last| shard > first || last < record.digest)
                };
                let mut more: Vec<_> = {
                    let shard = locked(&self.0.shards[shard]);
                    let all = shard.records.iter();
                    all.filter_map(|(key, record)| record.details(*key))
                        .filter(wanted)
                        .collect()
                };
                more.sort_unstable_by_key(|record| record.digest);
                records.append(&mut more);
                if records.len() > at_most {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let has_more = records.len() > at_most;
            records.truncate(at_most);
            let next = records.last().filter(|_| has_more);
            let next = next.map(|record| Cursor::new(*record.digest.as_bytes()));
            Ok(RecordPage { records, next })
        })
    }

    fn last_lift<'a>(
        &'a self,
        key: &'a KeyDigest,
    ) -> BoxFuture<'a, Result<Option<LiftRecord>, StoreError>> {
        let lift = |record: &Record| record.last_lift();
        let lift = self.shard(key).records.get(key).and_then(lift);
        Box::pin(ready(Ok(lift)))
    }
}

fn last_of_page(cursor: &Cursor) -> Result<KeyDigest, StoreError> {
    let bytes = cursor.as_bytes().try_into();
    let bytes = bytes.map_err(|_| StoreError::ForeignCursor)?;
    Ok(KeyDigest::from_bytes(bytes))
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}

/// Locks a mutex, ignoring poison. Nothing is expected to panic under a lock, and if it did,
/// revocations must still be enforced.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
