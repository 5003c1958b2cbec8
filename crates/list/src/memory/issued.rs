//! The issued tokens of the memory store.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    ops::Bound,
};

use tower_revoke_core::{
    BoxFuture, Cursor, IssuedToken, IssuedTokenPage, IssuedTokenStore, KeyDigest, StoreError,
    TokenHash, UnixTime,
};

use super::{MemoryStore, ledger::Entries, locked};

/// The tokens that a purge deletes before others get a turn.
const PURGED_AT_ONCE: usize = 1_000;

/// The tokens by their hashes, with an index by holder and one by the end of their retention.
#[derive(Default)]
pub(super) struct IssuedTokens {
    by_hash: HashMap<TokenHash, IssuedToken>,
    by_holder: BTreeMap<KeyDigest, BTreeSet<TokenHash>>,
    by_end: BTreeSet<(UnixTime, TokenHash)>,
}

impl IssuedTokens {
    /// Deletes some of the tokens that expired before a time, and returns their number.
    fn purge(&mut self, before: UnixTime) -> usize {
        for deleted in 0..PURGED_AT_ONCE {
            let Some(&(end, hash)) = self.by_end.first().filter(|(end, _)| *end < before) else {
                return deleted;
            };
            self.by_end.remove(&(end, hash));
            let Some(token) = self.by_hash.remove(&hash) else {
                continue;
            };
            for holder in token.holders() {
                if let Some(hashes) = self.by_holder.get_mut(&holder) {
                    hashes.remove(&hash);
                    if hashes.is_empty() {
                        self.by_holder.remove(&holder);
                    }
                }
            }
        }
        PURGED_AT_ONCE
    }
}

impl MemoryStore {
    fn insert_issued_token(&self, token: &IssuedToken) -> Result<(), StoreError> {
        let mut issued = locked(&self.0.issued);
        let Entry::Vacant(place) = issued.by_hash.entry(token.hash) else {
            return Err(StoreError::AlreadyIssued);
        };
        let mut ledger = self.ledger();
        let (none, one) = (issued_tokens(0), issued_tokens(1));
        ledger.check_room(none, one)?;
        ledger.weigh(none, one);
        drop(ledger);
        place.insert(token.clone());
        for holder in token.holders() {
            let hashes = issued.by_holder.entry(holder).or_default();
            hashes.insert(token.hash);
        }
        let end = token.retained_until().map(|end| (end, token.hash));
        issued.by_end.extend(end);
        Ok(())
    }

    pub(super) async fn purge_issued_tokens(&self, before: UnixTime) -> u64 {
        let mut deleted = 0;
        loop {
            let at_once = locked(&self.0.issued).purge(before);
            let (had, has) = (issued_tokens(at_once as u64), issued_tokens(0));
            self.ledger().weigh(had, has);
            deleted += at_once as u64;
            if at_once < PURGED_AT_ONCE {
                return deleted;
            }
            tokio::task::yield_now().await;
        }
    }

    fn page_of_issued_tokens(
        &self,
        holder: &KeyDigest,
        after: Option<&Cursor>,
        at_most: usize,
    ) -> Result<IssuedTokenPage, StoreError> {
        let after = after.map(last_of_page).transpose()?;
        let at_most = at_most.max(1);
        let issued = locked(&self.0.issued);
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let hashes = issued.by_holder.get(holder);
        let mut hashes = hashes
            .into_iter()
            .flat_map(|hashes| hashes.range((start, Bound::Unbounded)));
        let page = hashes.by_ref().take(at_most);
        let tokens: Vec<_> = page
            .filter_map(|hash| issued.by_hash.get(hash).cloned())
            .collect();
        let has_more = hashes.next().is_some();
        let next = tokens.last().filter(|_| has_more);
        let next = next.map(|token| Cursor::new(*token.hash.as_bytes()));
        Ok(IssuedTokenPage { tokens, next })
    }
}

fn issued_tokens(count: u64) -> Entries {
    Entries {
        issued_tokens: count,
        ..Entries::default()
    }
}

fn last_of_page(cursor: &Cursor) -> Result<TokenHash, StoreError> {
    let bytes = cursor.as_bytes().try_into();
    let bytes = bytes.map_err(|_| StoreError::ForeignCursor)?;
    Ok(TokenHash::from_bytes(bytes))
}

/// Pages in the order of the hashes.
impl IssuedTokenStore for MemoryStore {
    fn insert<'a>(&'a self, token: &'a IssuedToken) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.insert_issued_token(token) })
    }

    fn find<'a>(
        &'a self,
        hash: &'a TokenHash,
    ) -> BoxFuture<'a, Result<Option<IssuedToken>, StoreError>> {
        Box::pin(async move { Ok(locked(&self.0.issued).by_hash.get(hash).cloned()) })
    }

    fn page_of<'a>(
        &'a self,
        holder: &'a KeyDigest,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<IssuedTokenPage, StoreError>> {
        Box::pin(async move { self.page_of_issued_tokens(holder, after, at_most) })
    }
}
