//! The outbox of a store: the rows of what is owed to authorization servers.

use std::{collections::BTreeMap, fmt, sync::Arc};

use tower_revoke_core::{
    BoxFuture, Outbox, OutboxError, OwedRevocation, StoreError, TokenHash, TokenId, UnixTime,
    retention,
};

use crate::{
    EmbeddedStore, OutboxKeys,
    fault::Fault,
    group::Group,
    rows::OWED,
    sealed::{self, Place},
    shared::{Open, Shared},
};

/// The length of a part of an entry, see [`PART`](crate::rows::PART).
const PART: usize = 256;

/// How many rows one step of a purge looks at.
const PURGED_AT_ONCE: usize = 2_048;

/// What `OWED`, a server and a token are in a key.
const ENTRY: usize = 1 + 16 + 16;

type Key = Vec<u8>;

/// An [`Outbox`] in the folder of an [`EmbeddedStore`]. Made by [`EmbeddedStore::outbox`]. Clones share
/// it and are cheap.
///
/// A server's revocations are read by the process that opened the folder, so each node has its own.
/// The list may be in another store, which the nodes share: then this store has nothing but the outbox.
///
/// # Guarantees
/// The [crate docs](crate) say what is durable. Each entry is encrypted by AES-256-GCM-SIV under the
/// first of the [`OutboxKeys`], and authenticated together with the id of its token and the name of its
/// server: the files hold no token, and an entry that was changed or moved is not read. Whoever has the
/// files sees how many entries there are, until when, the ids of their tokens, which are digests, and
/// about how long the tokens are. Whoever can write them can remove entries, or bring removed ones back,
/// which are then sent again.
#[derive(Clone)]
pub struct EmbeddedOutbox {
    store: EmbeddedStore,
    keys: Arc<OutboxKeys>,
}

impl EmbeddedStore {
    /// Returns the outbox in the folder of this store, whose entries are sealed with these keys.
    ///
    /// # Examples
    /// ```
    /// use tower_revoke_store_embedded::{EmbeddedStore, OutboxKeys};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("outbox");
    /// # let key = [7; 32];
    /// let store = EmbeddedStore::open(path)?;
    /// let outbox = store.outbox(OutboxKeys::new(&key));
    /// # drop((store, outbox));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn outbox(&self, keys: OutboxKeys) -> EmbeddedOutbox {
        EmbeddedOutbox {
            store: self.clone(),
            keys: Arc::new(keys),
        }
    }
}

/// The start of the keys of a server's entries.
pub(crate) fn entries_of(server: &str) -> Key {
    let hash = TokenHash::of(server.as_bytes());
    let (half, _) = hash.as_bytes().split_at(16);
    [&[OWED][..], half].concat()
}

/// The start of the keys of an entry's parts.
pub(crate) fn parts_of(server: &str, token: TokenId) -> Key {
    [&entries_of(server)[..], token.as_bytes()].concat()
}

/// The entry to which a part belongs.
fn entry_of(part: &[u8]) -> Result<[u8; ENTRY], Fault> {
    let entry = part.first_chunk().copied();
    entry.ok_or_else(|| Fault::damaged("a key is too short"))
}

impl Group<'_> {
    /// Keeps an entry, in place of an earlier one.
    fn owe(&mut self, entry: &Key, sealed: &[u8]) -> Result<(), Fault> {
        self.settle(entry)?;
        let parts = (0_u32..).zip(sealed.chunks(PART));
        let parts = parts.map(|(part, sealed)| {
            let key = [&entry[..], &part.to_be_bytes()].concat();
            (key, Some(sealed.to_vec()))
        });
        self.issued.rows.extend(parts);
        self.issued.inserted += 1;
        Ok(())
    }

    /// Deletes an entry if there is one.
    fn settle(&mut self, entry: &[u8]) -> Result<(), Fault> {
        let mut was_there = false;
        for row in self.rows.prefix(entry) {
            let key = row.key()?.to_vec();
            was_there |= !matches!(self.issued.rows.get(&key), Some(None));
            self.issued.rows.insert(key, None);
        }
        // Of this group.
        let from = entry.to_vec();
        for (key, part) in self.issued.rows.range_mut(from..) {
            if !key.starts_with(entry) {
                break;
            }
            was_there |= part.take().is_some();
        }
        self.issued.deleted += u64::from(was_there);
        Ok(())
    }

    /// Deletes entries that were not owed any more before a time, of all servers. Returns how many, and
    /// where to continue if there may be more.
    pub(crate) fn purge_owed(
        &mut self,
        before: UnixTime,
        after: Option<Key>,
    ) -> Result<(u64, Option<Key>), Fault> {
        let start = after.map_or(vec![OWED], |after| [&after[..], &[0]].concat());
        let mut ended = Vec::new();
        for (seen, row) in self.rows.range(start..vec![OWED + 1]).enumerate() {
            let (key, part) = row.into_inner()?;
            // One that this group has changed is none of the ended ones any more.
            let is_changed = self.issued.rows.contains_key(&key[..]);
            if !is_changed && key.len() == ENTRY + 4 && key.ends_with(&[0; 4]) {
                let until = sealed::until_of(&part);
                // What can't be read is kept for who can.
                if until.is_some_and(|until| retention::ended_before(Some(until), before)) {
                    ended.push(entry_of(&key)?);
                }
            }
            if seen + 1 == PURGED_AT_ONCE {
                return Ok((self.settle_all(&ended)?, Some(key.to_vec())));
            }
        }
        Ok((self.settle_all(&ended)?, None))
    }

    fn settle_all(&mut self, entries: &[[u8; ENTRY]]) -> Result<u64, Fault> {
        for entry in entries {
            self.settle(entry)?;
        }
        Ok(entries.len() as u64)
    }
}

/// Returns the sealed entries of a server.
fn entries(open: &Open, server: &str) -> Result<BTreeMap<TokenId, Vec<u8>>, Fault> {
    let mut entries = BTreeMap::<_, Vec<u8>>::new();
    for row in open.rows.prefix(entries_of(server)) {
        let (key, part) = row.into_inner()?;
        let token = entry_of(&key)?.last_chunk().copied().unwrap_or_default();
        let entry = entries.entry(TokenId::from_bytes(token));
        entry.or_default().extend_from_slice(&part);
    }
    Ok(entries)
}

impl Outbox for EmbeddedOutbox {
    fn put<'a>(
        &'a self,
        server: &'a str,
        owed: &'a OwedRevocation,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let place = Place {
                server,
                token: owed.id,
            };
            let sealed = self.keys.seal(&place, owed)?;
            let entry = parts_of(server, owed.id);
            self.store
                .write(move |group| group.owe(&entry, &sealed))
                .await
        })
    }

    fn remove<'a>(
        &'a self,
        server: &'a str,
        token: TokenId,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let entry = parts_of(server, token);
        Box::pin(self.store.write(move |group| group.settle(&entry)))
    }

    fn owed<'a>(
        &'a self,
        server: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Result<OwedRevocation, OutboxError>>, StoreError>> {
        Box::pin(async move {
            let name = server.to_owned();
            let read = move |_: &Shared, open: &Open| entries(open, &name);
            let sealed = self.store.read(read).await?;
            let opened = sealed.into_iter().map(|(token, sealed)| {
                let place = Place { server, token };
                self.keys.open(&place, &sealed)
            });
            Ok(opened.collect())
        })
    }
}

impl fmt::Debug for EmbeddedOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedOutbox")
            .field("store", &self.store)
            .field("keys", &self.keys)
            .finish()
    }
}
