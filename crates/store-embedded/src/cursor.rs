//! Cursors of the feed, of a full load and of the records, as bytes that callers keep.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tower_revoke_core::{Cursor, StoreError};

use crate::rows::RowKey;

/// The kinds of cursors: the first byte.
pub(crate) const FEED: u8 = 1;
pub(crate) const RECORDS: u8 = 2;
pub(crate) const ISSUED: u8 = 4;
/// What is listed, without the feed.
pub(crate) const LISTED: u8 = 3;

/// A position in the feed and, during a full load, how far that has come.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct FeedCursor {
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

/// The digest of the last record that was read.
pub(crate) type RecordsCursor = [u8; 16];

/// The hash of the last issued token that was read.
pub(crate) type IssuedCursor = [u8; 32];

/// Reads a cursor of this kind and store.
pub(crate) fn read<T: DeserializeOwned>(
    kind: u8,
    store: [u8; 16],
    cursor: &Cursor,
) -> Result<T, StoreError> {
    match postcard::take_from_bytes::<(u8, [u8; 16], T)>(cursor.as_bytes()) {
        Ok(((found, of, cursor), [])) if (found, of) == (kind, store) => Ok(cursor),
        _ => Err(StoreError::ForeignCursor),
    }
}

pub(crate) fn write(kind: u8, store: [u8; 16], cursor: &impl Serialize) -> Cursor {
    let bytes = postcard::to_allocvec(&(kind, store, cursor));
    Cursor::new(bytes.expect("numbers and arrays of a fixed length are always written"))
}
