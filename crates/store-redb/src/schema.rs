//! The tables of the file, the version of its schema, and what opening writes.

use redb::{Database, ReadableTable, ReadableTableMetadata, TableDefinition, TableHandle};

use crate::fault::Fault;

/// The version of the schema. Must be raised with every change that an older release would misread.
pub(crate) const VERSION: u32 = 2;

/// The schema version, the name of the store, and counters. The name of this table identifies files
/// of this store.
pub(crate) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("tower-revoke");
/// Digest to [`Revoked`](crate::rows::Revoked), followed by [`Said`](crate::rows::Said).
pub(crate) const REVOKED: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("revoked");
/// Digest to [`Lifted`](crate::rows::Lifted).
pub(crate) const LIFTED: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("lifted");
/// Token to [`Uses`](crate::rows::Uses).
pub(crate) const USES: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("uses");
/// Token and use id of each taken use of a token with more than one use.
pub(crate) const HELD: TableDefinition<[u8; 32], ()> = TableDefinition::new("held");
/// Number, in the order of arrival, to [`StagedUse`](crate::rows::StagedUse): uses that are not yet
/// in [`USES`] and [`ENDS`].
pub(crate) const STAGED: TableDefinition<u64, &[u8]> = TableDefinition::new("staged");
/// The index of expiries: seconds, facet and digest. Entries that never expire are not in it.
pub(crate) const ENDS: TableDefinition<[u8; 25], ()> = TableDefinition::new("ends");
/// Position to [`Event`](crate::rows::Event).
pub(crate) const FEED: TableDefinition<u64, &[u8]> = TableDefinition::new("feed");
/// Number to [`Opening`].
///
/// Each opening of the file gets a row with a random name and the position of the feed at which it
/// began. A cursor names its opening, so a restored backup is detected: the file then lacks that
/// opening, or has another name under its number.
pub(crate) const OPENINGS: TableDefinition<u64, &[u8]> = TableDefinition::new("openings");

const SCHEMA: &str = "schema";
const STORE: &str = "store";
/// Entries that expired before this time may have been purged.
pub(crate) const PURGED_BEFORE: &str = "purged-before";
/// A [`Moved`](crate::rows::Moved), once anything was moved.
pub(crate) const STAGED_MOVED: &str = "staged-moved";
/// The next position of the feed, for when it has no entry left.
pub(crate) const FEED_END: &str = "feed-end";

/// How many openings are kept. A cursor of an older opening is too old.
const OPENINGS_KEPT: u64 = 1_024;

/// The name of the store, and the current opening of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) store: [u8; 16],
    pub(crate) opening: u64,
    pub(crate) name: u64,
}

/// A row of [`OPENINGS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) name: u64,
    pub(crate) began_at: u64,
}

impl Opening {
    fn write(self) -> [u8; 16] {
        (u128::from(self.name) << 64 | u128::from(self.began_at)).to_be_bytes()
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let both = u128::from_be_bytes(fixed(bytes)?);
        Ok(Self {
            name: (both >> 64) as u64,
            began_at: both as u64,
        })
    }
}

pub(crate) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    (bytes.try_into()).map_err(|_| Fault::Damaged("a number has the wrong length".to_owned()))
}

/// The kind of a file.
pub(crate) enum Found {
    Ours(Identity),
    Newer(u32),
    Foreign,
}

/// Reads the version, or writes it to a new file, and records the opening. A foreign or newer file
/// is left unchanged.
pub(crate) fn begin(db: &Database) -> Result<Found, Fault> {
    let txn = db.begin_write()?;
    let has_meta = txn.list_tables()?.any(|table| table.name() == META.name());
    let is_empty = txn.list_tables()?.next().is_none() && {
        let mut others = txn.list_multimap_tables()?;
        others.next().is_none()
    };
    if !has_meta && !is_empty {
        return Ok(Found::Foreign);
    }
    let identity = {
        let mut meta = match txn.open_table(META) {
            Ok(meta) => meta,
            Err(redb::TableError::Storage(error)) => return Err(error.into()),
            Err(_) => return Ok(Found::Foreign),
        };
        let version = meta
            .get(SCHEMA)?
            .map(|row| fixed(row.value()))
            .transpose()?
            .map(u32::from_be_bytes);
        match version {
            Some(version) if version > VERSION => return Ok(Found::Newer(version)),
            Some(_) => {}
            None if has_meta => return Ok(Found::Foreign),
            None => {
                meta.insert(STORE, random::<16>()?.as_slice())?;
            }
        }
        // An older file lacks tables, which are created below. Older releases reject it from now
        // on.
        if version != Some(VERSION) {
            meta.insert(SCHEMA, VERSION.to_be_bytes().as_slice())?;
        }
        let store = meta.get(STORE)?.map(|row| fixed(row.value())).transpose()?;
        let store = store.ok_or_else(|| Fault::Damaged("it has no name".to_owned()))?;
        // Creates all tables, because opening a missing one fails in a read transaction.
        for table in [REVOKED, LIFTED, USES] {
            txn.open_table(table)?;
        }
        txn.open_table(HELD)?;
        txn.open_table(STAGED)?;
        txn.open_table(ENDS)?;
        let began_at = feed_end(&meta, &txn.open_table(FEED)?)?;
        let mut openings = txn.open_table(OPENINGS)?;
        let opening = openings.last()?.map_or(0, |(number, _)| number.value() + 1);
        let name = u64::from_be_bytes(random()?);
        let row = Opening { name, began_at }.write();
        openings.insert(opening, row.as_slice())?;
        while openings.len()? > OPENINGS_KEPT {
            openings.pop_first()?;
        }
        Identity {
            store,
            opening,
            name,
        }
    };
    txn.commit()?;
    Ok(Found::Ours(identity))
}

/// Returns the position of the next entry of the feed.
pub(crate) fn feed_end(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    feed: &impl ReadableTable<u64, &'static [u8]>,
) -> Result<u64, Fault> {
    if let Some((last, _)) = feed.last()? {
        return Ok(last.value() + 1);
    }
    Ok(number(meta, FEED_END)?.unwrap_or(0))
}

/// Returns a counter of [`META`].
pub(crate) fn number(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &'static str,
) -> Result<Option<u64>, Fault> {
    let row = meta.get(name)?;
    row.map(|row| Ok(u64::from_be_bytes(fixed(row.value())?)))
        .transpose()
}

fn random<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        let error = std::io::Error::other(error.to_string());
        Fault::from(redb::Error::Io(error))
    })?;
    Ok(bytes)
}
