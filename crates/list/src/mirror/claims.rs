//! The uses that were won through this list, for a store that has forgotten them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use tower_revoke_core::{Claim, KeyDigest, TokenId, UnixTime};

/// By token; a token may have many.
#[derive(Debug, Default)]
pub(super) struct OwnClaims(Mutex<HashTable<Claim>>);

impl OwnClaims {
    pub(super) fn len(&self) -> usize {
        self.table().len()
    }

    pub(super) fn keep(&self, claim: &Claim) {
        let hash = hash(claim);
        let mut table = self.table();
        let same = |one: &Claim| one.token == claim.token && one.id == claim.id;
        if table.find(hash, same).is_none() {
            table.insert_unique(hash, *claim, self::hash);
        }
    }

    pub(super) fn drop(&self, claim: &Claim) {
        let same = |one: &Claim| one.token == claim.token && one.id == claim.id;
        if let Ok(there) = self.table().find_entry(hash(claim), same) {
            there.remove();
        }
    }

    /// Forgets what ended before a time.
    pub(super) fn forget(&self, before: UnixTime) {
        let mut table = self.table();
        table.retain(|claim| claim.until.is_none_or(|until| until >= before));
        if table.len() < table.capacity() / 4 {
            let len = table.len();
            table.shrink_to(2 * len, hash);
        }
    }

    pub(super) fn clear(&self) {
        *self.table() = HashTable::new();
    }

    pub(super) fn all(&self) -> Vec<Claim> {
        self.table().iter().copied().collect()
    }

    /// The uses that were won of one token.
    pub(super) fn of(&self, token: TokenId) -> Vec<Claim> {
        let table = self.table();
        let its = table.iter_hash(hash_of(token));
        its.filter(|claim| claim.token == token).copied().collect()
    }

    /// Whether all uses of a token were won here: to claim them again is to spend it again.
    pub(super) fn hold_all_of(&self, key: &KeyDigest) -> bool {
        let claims = self.of(key.as_token());
        let limit = claims.first().map(|claim| claim.limit.get() as usize);
        limit.is_some_and(|limit| claims.len() >= limit)
    }

    fn table(&self) -> MutexGuard<'_, HashTable<Claim>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(claim: &Claim) -> u64 {
    hash_of(claim.token)
}

fn hash_of(token: TokenId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *token.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
