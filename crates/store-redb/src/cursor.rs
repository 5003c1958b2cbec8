//! Places in the feed, in a full load and in the records, in bytes that others keep.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tower_revoke_core::{Cursor, StoreError};

use crate::schema::Identity;

/// Says which kind of cursor it is, and in which version.
const FEED: u8 = 1;
const RECORDS: u8 = 2;

/// A position of the feed; while all is being loaded, also where the load stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FeedCursor {
    pub(crate) store: [u8; 16],
    /// The opening of the file in which it was made.
    pub(crate) opening: u64,
    pub(crate) name: u64,
    pub(crate) position: u64,
    pub(crate) load: Option<Load>,
}

/// What of a full load was read: first the staged uses, for what is moved meanwhile is then found
/// among the uses. All that changed since it began comes after it, by the feed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Load {
    /// The revocations up to this one.
    Revoked(Option<[u8; 16]>),
    /// All revocations, and the tokens with taken uses up to this one.
    Uses(Option<[u8; 16]>),
    /// The tokens up to this one whose uses are staged.
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
