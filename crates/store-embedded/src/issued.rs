//! Issued tokens: their rows, and the store of them.

use std::collections::BTreeMap;

use fjall::{Guard, Keyspace, OwnedWriteBatch, Readable};
use tower_revoke_core::{
    BoxFuture, Cursor, IssuedToken, IssuedTokenPage, IssuedTokenStore, KeyDigest, StoreError,
    TokenHash, UnixTime,
};

use crate::{
    EmbeddedStore,
    cursor::{self, IssuedCursor},
    fault::Fault,
    group::Group,
    rows::{ISSUED, ISSUED_ENDS, ISSUED_OF},
    shared::{Open, Shared},
};

/// How many tokens one step of a purge deletes.
const PURGED_AT_ONCE: usize = 1_024;

/// The length of a part of a token, see [`PART`](crate::rows::PART).
const PART: usize = 256;

/// The most tokens in one page.
const PAGE: usize = 1_000;

type Key = Vec<u8>;

/// The start of the keys of a token's parts.
fn parts_of(hash: &TokenHash) -> Key {
    [&[ISSUED][..], hash.as_bytes()].concat()
}

fn part_key(hash: &TokenHash, part: u32) -> Key {
    [&parts_of(hash)[..], &part.to_be_bytes()].concat()
}

/// Reads a token from its parts.
fn token_of(rows: impl Iterator<Item = Guard>) -> Result<Option<IssuedToken>, Fault> {
    let mut json = Vec::new();
    for part in rows {
        json.extend_from_slice(&part.into_inner()?.1);
    }
    if json.is_empty() {
        return Ok(None);
    }
    let token = serde_json::from_slice(&json);
    let token = token.map_err(|_| Fault::damaged("an issued token can't be read"))?;
    Ok(Some(token))
}

fn missing() -> Fault {
    Fault::damaged("an issued token is missing")
}

fn holder_key(holder: &KeyDigest) -> Key {
    [&[ISSUED_OF][..], holder.as_bytes()].concat()
}

/// The keys of the two indices that name a token.
fn index_keys(token: &IssuedToken) -> impl Iterator<Item = Key> {
    let hash = *token.hash.as_bytes();
    let holders = token.holders();
    let holders = holders.map(move |holder| [&holder_key(&holder)[..], &hash].concat());
    let end = token.retained_until();
    let end = end.map(|end| [&[ISSUED_ENDS][..], &end.as_secs().to_be_bytes(), &hash].concat());
    holders.chain(end)
}

/// Returns the hash at the end of a key.
fn hash_of(key: &[u8]) -> Result<TokenHash, Fault> {
    let hash = key.last_chunk().copied().map(TokenHash::from_bytes);
    hash.ok_or_else(|| Fault::damaged("a key is too short"))
}

/// The issued tokens of a group, and what it owes: rows to write, and keys of rows to delete.
#[derive(Default)]
pub(crate) struct Issued {
    pub(crate) rows: BTreeMap<Key, Option<Vec<u8>>>,
    /// How many entries were added, and how many deleted.
    pub(crate) inserted: u64,
    pub(crate) deleted: u64,
}

impl Issued {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn write(self, rows: &Keyspace, batch: &mut OwnedWriteBatch) {
        for (key, row) in self.rows {
            match row {
                Some(row) => batch.insert(rows, key, row),
                None => batch.remove(rows, key),
            }
        }
    }
}

impl Group<'_> {
    pub(crate) fn issue(&mut self, token: &IssuedToken) -> Result<(), StoreError> {
        let key = part_key(&token.hash, 0);
        let is_there = match self.issued.rows.get(&key) {
            Some(row) => row.is_some(),
            None => self.rows.contains_key(&key).map_err(Fault::from)?,
        };
        if is_there {
            return Err(StoreError::AlreadyIssued);
        }
        let json = serde_json::to_vec(token);
        let json = json.map_err(|error| StoreError::Unavailable(error.into()))?;
        let parts = (0..).zip(json.chunks(PART));
        let parts = parts.map(|(part, json)| (part_key(&token.hash, part), Some(json.to_vec())));
        let indices = index_keys(token).map(|key| (key, Some(Vec::new())));
        self.issued.rows.extend(parts.chain(indices));
        self.issued.inserted += 1;
        Ok(())
    }

    /// Deletes some of the tokens that expired before a time. Returns their number, and whether there
    /// may be more.
    pub(crate) fn purge_issued(&mut self, before: UnixTime) -> Result<(u64, bool), Fault> {
        let end = [&[ISSUED_ENDS][..], &before.as_secs().to_be_bytes()].concat();
        let mut deleted = 0;
        for ended in self.rows.range(vec![ISSUED_ENDS]..end) {
            let end = ended.key()?;
            if deleted == PURGED_AT_ONCE {
                return Ok((deleted as u64, true));
            }
            // Another purge in this group has deleted it.
            if self.issued.rows.contains_key(&end[..]) {
                continue;
            }
            let parts = parts_of(&hash_of(&end)?);
            let token = token_of(self.rows.prefix(&parts))?.ok_or_else(missing)?;
            let indices = index_keys(&token).map(|key| (key, None));
            self.issued.rows.extend(indices);
            for part in self.rows.prefix(&parts) {
                self.issued.rows.insert(part.key()?.to_vec(), None);
            }
            self.issued.deleted += 1;
            deleted += 1;
        }
        Ok((deleted as u64, false))
    }
}

fn page_of(
    shared: &Shared,
    open: &Open,
    holder: &KeyDigest,
    after: Option<IssuedCursor>,
    at_most: usize,
) -> Result<IssuedTokenPage, Fault> {
    let snapshot = open.database.snapshot();
    let at_most = at_most.clamp(1, PAGE);
    let holder = holder_key(holder);
    let start = match after {
        Some(after) => [&holder[..], &after, &[0]].concat(),
        None => holder.clone(),
    };
    let end = [&holder[..], &[0xff; 33]].concat();
    let mut page = IssuedTokenPage::default();
    for key in snapshot.range(&open.rows, start..end) {
        if page.tokens.len() == at_most {
            let last = page.tokens.last().map(|last| *last.hash.as_bytes());
            let last: IssuedCursor = last.unwrap_or_default();
            page.next = Some(cursor::write(cursor::ISSUED, shared.folder.store, &last));
            break;
        }
        let parts = parts_of(&hash_of(&key.key()?)?);
        let token = token_of(snapshot.prefix(&open.rows, parts))?;
        page.tokens.push(token.ok_or_else(missing)?);
    }
    Ok(page)
}

/// Pages are in the order of the hashes.
impl IssuedTokenStore for EmbeddedStore {
    fn insert<'a>(&'a self, token: &'a IssuedToken) -> BoxFuture<'a, Result<(), StoreError>> {
        let token = token.clone();
        Box::pin(self.write(move |group| group.issue(&token)))
    }

    fn find<'a>(
        &'a self,
        hash: &'a TokenHash,
    ) -> BoxFuture<'a, Result<Option<IssuedToken>, StoreError>> {
        let parts = parts_of(hash);
        // From a snapshot: a purge may delete the parts meanwhile.
        Box::pin(self.read(move |_: &Shared, open: &Open| {
            token_of(open.database.snapshot().prefix(&open.rows, parts))
        }))
    }

    fn page_of<'a>(
        &'a self,
        holder: &'a KeyDigest,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<IssuedTokenPage, StoreError>> {
        let holder = *holder;
        Box::pin(async move {
            let after = after.map(|cursor| cursor::read(cursor::ISSUED, self.id(), cursor));
            let after: Option<IssuedCursor> = after.transpose()?;
            self.read(move |shared, open| page_of(shared, open, &holder, after, at_most))
                .await
        })
    }
}
