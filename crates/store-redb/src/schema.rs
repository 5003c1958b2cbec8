//! The tables of the file, their version, and what is written when a file is opened.

use redb::{Database, ReadableTable, ReadableTableMetadata, TableDefinition, TableHandle};

use crate::fault::Fault;

/// Raised with every change that an older release would misread.
pub(crate) const VERSION: u32 = 2;

/// Version, name of the store, and numbers. Its name tells our files from those of others.
pub(crate) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("tower-revoke");
/// By digest: [`Revoked`](crate::rows::Revoked) and [`Said`](crate::rows::Said).
pub(crate) const REVOKED: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("revoked");
/// By digest: [`Lifted`](crate::rows::Lifted).
pub(crate) const LIFTED: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("lifted");
/// By token: [`Uses`](crate::rows::Uses).
pub(crate) const USES: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("uses");
/// By token and use: a use that is held, of a token with more than one.
pub(crate) const HELD: TableDefinition<[u8; 32], ()> = TableDefinition::new("held");
/// By number, in the order in which they were made: [`StagedUse`](crate::rows::StagedUse),
/// uses that are not yet in [`USES`] and [`ENDS`].
pub(crate) const STAGED: TableDefinition<u64, &[u8]> = TableDefinition::new("staged");
/// What ends, by when: seconds, table and digest. What never ends is not in it.
pub(crate) const ENDS: TableDefinition<[u8; 25], ()> = TableDefinition::new("ends");
/// By position: [`Event`](crate::rows::Event).
pub(crate) const FEED: TableDefinition<u64, &[u8]> = TableDefinition::new("feed");
/// By number: a random name, and where in the feed it began. A new one each time that the file is
/// opened, so that two lives of a file that was copied are told apart.
pub(crate) const OPENINGS: TableDefinition<u64, &[u8]> = TableDefinition::new("openings");

const SCHEMA: &str = "schema";
const STORE: &str = "store";
/// What ended before this may have been forgotten.
pub(crate) const PURGED_BEFORE: &str = "purged-before";
/// [`Moved`](crate::rows::Moved), if anything ever was.
pub(crate) const STAGED_MOVED: &str = "staged-moved";
/// The next position of the feed, if no entry of it is left.
pub(crate) const FEED_END: &str = "feed-end";

/// A cursor of an older opening counts as too old.
const OPENINGS_KEPT: u64 = 1_024;

/// Which store this is, and which of the times that it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) store: [u8; 16],
    pub(crate) opening: u64,
    pub(crate) name: u64,
}

/// One row of [`OPENINGS`].
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

/// What was found in a file.
pub(crate) enum Found {
    Ours(Identity),
    Newer(u32),
    Foreign,
}

/// Reads the version, or writes it into a new file, and notes that it was opened. A file that is
/// not ours, or newer, is left as it was.
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
        // What an older release lacks is made below; it can't read the file from now on.
        if version != Some(VERSION) {
            meta.insert(SCHEMA, VERSION.to_be_bytes().as_slice())?;
        }
        let store = meta.get(STORE)?.map(|row| fixed(row.value())).transpose()?;
        let store = store.ok_or_else(|| Fault::Damaged("it has no name".to_owned()))?;
        // A reader finds every table, also those that are still empty.
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

/// The position of the next entry of the feed.
pub(crate) fn feed_end(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    feed: &impl ReadableTable<u64, &'static [u8]>,
) -> Result<u64, Fault> {
    if let Some((last, _)) = feed.last()? {
        return Ok(last.value() + 1);
    }
    Ok(number(meta, FEED_END)?.unwrap_or(0))
}

/// A number of [`META`].
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
