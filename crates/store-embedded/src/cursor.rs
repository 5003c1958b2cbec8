//! Cursors of the feed, of a full load and of the records, as bytes that callers keep.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tower_revoke_core::{Cursor, StoreError};

use crate::rows::RowKey;

/// The first byte of a cursor: its kind, and the version of its encoding.
const FEED: u8 = 1;
const RECORDS: u8 = 2;

/// A position in the feed and, during a full load, how far that has come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FeedCursor {
    pub(crate) store: [u8; 16],
    /// The last group whose changes were seen.
    pub(crate) group: u64,
    /// The opening in which it was written. A restored backup lacks the group, or has another one
    /// under its number.
    pub(crate) opening: [u8; 8],
    pub(crate) load: Option<Load>,
}

/// The last key that a full load has read. What changes after the start of the load follows by the
/// feed.
pub(crate) type Load = Option<RowKey>;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RecordsCursor {
    pub(crate) store: [u8; 16],
    pub(crate) last: [u8; 16],
}

impl FeedCursor {
    pub(crate) fn read(cursor: &Cursor) -> Result<Self, StoreError> {
        read(FEED, cursor)
    }

    pub(crate) fn write(&self) -> Cursor {
        write(FEED, self)
    }
}

impl RecordsCursor {
    pub(crate) fn read(cursor: &Cursor) -> Result<Self, StoreError> {
        read(RECORDS, cursor)
    }

    pub(crate) fn write(&self) -> Cursor {
        write(RECORDS, self)
    }
}

fn read<T: DeserializeOwned>(kind: u8, cursor: &Cursor) -> Result<T, StoreError> {
    match cursor.as_bytes().split_first() {
        Some((first, rest)) if *first == kind => match postcard::take_from_bytes(rest) {
            Ok((cursor, [])) => Ok(cursor),
            _ => Err(StoreError::ForeignCursor),
        },
        _ => Err(StoreError::ForeignCursor),
    }
}

fn write(kind: u8, cursor: &impl Serialize) -> Cursor {
    let bytes = postcard::to_extend(cursor, vec![kind]);
    Cursor::new(bytes.expect("numbers and arrays of a fixed length are always written"))
}
