//! Cursors of the feed, of a full load and of the records, as bytes that callers keep.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tower_revoke_core::{Cursor, StoreError};

use crate::schema::Identity;

/// The first byte of a cursor: its kind, and the version of its encoding.
const FEED: u8 = 1;
const RECORDS: u8 = 2;

/// A position in the feed and, during a full load, how far that has come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FeedCursor {
    pub(crate) store: [u8; 16],
    /// The opening of the file during which the cursor was made.
    pub(crate) opening: u64,
    pub(crate) name: u64,
    pub(crate) position: u64,
    pub(crate) load: Option<Load>,
}

/// How far a full load has come. Its order is staged uses, revocations, uses.
///
/// Staged uses come first, because a use that is moved during the load then still comes later,
/// among the uses. What changes after the start of the load follows by the feed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Load {
    /// All staged uses were read, and revocations up to this key.
    Revoked(Option<[u8; 16]>),
    /// All revocations were read, and uses up to this token.
    Uses(Option<[u8; 16]>),
    /// Staged uses were read up to this token.
    Staged(Option<[u8; 16]>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RecordsCursor {
    pub(crate) store: [u8; 16],
    pub(crate) last: [u8; 16],
}

impl FeedCursor {
    pub(crate) fn new(identity: &Identity, position: u64, load: Option<Load>) -> Self {
        Self {
            store: identity.store,
            opening: identity.opening,
            name: identity.name,
            position,
            load,
        }
    }

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
