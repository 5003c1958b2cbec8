//! The uses that were taken through this list, to write back to a store that has lost them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use tower_revoke_core::{KeyDigest, TokenId, UnixTime, Use, retention};

/// The uses, hashed by token. A token may have many.
#[derive(Debug, Default)]
pub(super) struct OwnUses(Mutex<HashTable<Use>>);

impl OwnUses {
    pub(super) fn len(&self) -> usize {
        self.table().len()
    }

    pub(super) fn keep(&self, use_: &Use) {
        let hash = hash(use_);
        let mut table = self.table();
        let same = |one: &Use| one.token == use_.token && one.id == use_.id;
        if table.find(hash, same).is_none() {
            table.insert_unique(hash, *use_, self::hash);
        }
    }

    pub(super) fn drop(&self, use_: &Use) {
        let same = |one: &Use| one.token == use_.token && one.id == use_.id;
        if let Ok(there) = self.table().find_entry(hash(use_), same) {
            there.remove();
        }
    }

    /// Drops what expired before a time.
    pub(super) fn forget(&self, before: UnixTime) {
        let mut table = self.table();
        table.retain(|use_| !retention::ended_before(use_.until, before));
        if table.len() < table.capacity() / 4 {
            let len = table.len();
            table.shrink_to(2 * len, hash);
        }
    }

    pub(super) fn clear(&self) {
        *self.table() = HashTable::new();
    }

    pub(super) fn all(&self) -> Vec<Use> {
        self.table().iter().copied().collect()
    }

    /// Returns the uses of one token.
    pub(super) fn of(&self, token: TokenId) -> Vec<Use> {
        let table = self.table();
        let its = table.iter_hash(hash_of(token));
        its.filter(|use_| use_.token == token).copied().collect()
    }

    /// Returns whether all uses of a token were taken here, so that writing them back spends the
    /// token.
    pub(super) fn hold_all_of(&self, key: &KeyDigest) -> bool {
        let uses = self.of(key.as_token());
        let limit = uses.first().map(|use_| use_.limit.get() as usize);
        limit.is_some_and(|limit| uses.len() >= limit)
    }

    fn table(&self) -> MutexGuard<'_, HashTable<Use>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(use_: &Use) -> u64 {
    hash_of(use_.token)
}

fn hash_of(token: TokenId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *token.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
