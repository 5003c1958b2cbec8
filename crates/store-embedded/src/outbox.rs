//! The outbox of a store: the rows of what is owed to authorization servers.

use std::{collections::BTreeMap, fmt, sync::Arc};

use tower_revoke_core::{
    BoxFuture, Outbox, OutboxError, OwedRevocation, StoreError, TokenHash, TokenId, UnixTime,
    internal::Audit, retention,
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

/// How many rows are looked at in one step, between which other calls run.
const LOOKED_AT_ONCE: usize = 2_048;

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

    /// Deletes the entries of all servers that expired before a time. Returns how many there were.
    pub(crate) async fn purge_owed(&self, before: UnixTime) -> Result<u64, StoreError> {
        // What can't be read is kept for who can.
        self.settle_where(move |part| {
            let until = sealed::until_of(part);
            until.is_some_and(|until| retention::ended_before(Some(until), before))
        })
        .await
    }

    /// Deletes the entries, of all servers, whose first part is one that is meant. Returns how many.
    async fn settle_where(
        &self,
        is_meant: impl Fn(&[u8]) -> bool + Clone + Send + 'static,
    ) -> Result<u64, StoreError> {
        let (mut deleted, mut after) = (0, None);
        loop {
            let is_meant = is_meant.clone();
            let step = move |group: &mut Group<'_>| group.settle_where(is_meant, after);
            let (some, last) = self.write_without_timeout(step).await?;
            deleted += some;
            match last {
                Some(last) => after = Some(last),
                None => return Ok(deleted),
            }
        }
    }
}

impl EmbeddedOutbox {
    /// Discards all entries that were sealed with a key that is lost, of all servers: the authorization
    /// servers are never told of these tokens, which stay revoked here. Returns how many there were.
    ///
    /// `key` is the id of the key, as [`OutboxError::UnknownKey`] and the log have it; `by` is who
    /// discards them. Call it before a client is built over the outbox, which reads the entries once.
    /// Each call is logged as a `tracing` event of level `INFO` with the target `tower_revoke::audit`.
    ///
    /// Without it the entries stay until they are no longer owed, by default for a day at most, and
    /// [`purge`](tower_revoke_core::Store::purge) removes them.
    ///
    /// # Errors
    /// [`StoreError`]. Some may have been discarded; the call can be repeated.
    ///
    /// # Examples
    /// ```
    /// # use tower_revoke_store_embedded::EmbeddedOutbox;
    /// # async fn discard(outbox: EmbeddedOutbox) -> Result<(), Box<dyn std::error::Error>> {
    /// let discarded = outbox.discard_sealed_by("5f2c6d0a91b3e847", "ann@example.com").await?;
    /// println!("{discarded} revocations are never sent");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn discard_sealed_by(&self, key: &str, by: &str) -> Result<u64, StoreError> {
        let mut audit = Audit::new("outbox").by(by);
        audit.action("discard");
        audit.reason(&format!("sealed by the key {key}"));
        let key = key.to_owned();
        let is_sealed_by = move |part: &[u8]| sealed::key_of(part).is_some_and(|id| id == key);
        let discarded = self.store.settle_where(is_sealed_by).await;
        match &discarded {
            Ok(0) => audit.unchanged(),
            Ok(count) => audit.count(*count).done(),
            Err(error) => audit.failed(error),
        }
        discarded
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

    /// Deletes the entries, of all servers, whose first part is one that is meant. Returns how many, and
    /// where to continue if there may be more.
    fn settle_where(
        &mut self,
        is_meant: impl Fn(&[u8]) -> bool,
        after: Option<Key>,
    ) -> Result<(u64, Option<Key>), Fault> {
        let start = after.map_or(vec![OWED], |after| [&after[..], &[0]].concat());
        let mut meant = Vec::new();
        for (seen, row) in self.rows.range(start..vec![OWED + 1]).enumerate() {
            let (key, part) = row.into_inner()?;
            // One that this group has changed is another one.
            let is_changed = self.issued.rows.contains_key(&key[..]);
            let is_first = key.len() == ENTRY + 4 && key.ends_with(&[0; 4]);
            if !is_changed && is_first && is_meant(&part) {
                meant.push(entry_of(&key)?);
            }
            if seen + 1 == LOOKED_AT_ONCE {
                return Ok((self.settle_all(&meant)?, Some(key.to_vec())));
            }
        }
        Ok((self.settle_all(&meant)?, None))
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
