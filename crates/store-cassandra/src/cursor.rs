//! Positions in the feed, in a full load and in the records, as bytes.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tower_revoke_core::{Cursor, StoreError};

use crate::log::Table;

/// The kinds of cursors, and their version.
const FEED: u8 = 1;
const RECORDS: u8 = 2;

/// How far the log of one writer was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogPosition {
    pub(crate) writer: i64,
    /// Everything up to here was done when it was read; what comes after it is read again.
    pub(crate) from: i64,
    /// The last entry that was seen, and its mark.
    pub(crate) last: i64,
    pub(crate) mark: i64,
    pub(crate) pass: Option<Pass>,
}

/// A reading of a log that takes several pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pass {
    pub(crate) at: i64,
    /// The last entry to be read, and its mark.
    pub(crate) goal: i64,
    pub(crate) mark: i64,
    /// Everything up to here was done when the pass began.
    pub(crate) settled: i64,
}

/// Where the scan of a table goes on; by default at its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScanPosition {
    /// The paging state of a page.
    pub(crate) page: Vec<u8>,
    /// The last key that was read. The page may begin with it or with keys before it.
    pub(crate) last: Option<[u8; 16]>,
}

/// Where a full load goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) table: Table,
    pub(crate) position: ScanPosition,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FeedCursor {
    pub(crate) store: [u8; 16],
    pub(crate) load: Option<Load>,
    pub(crate) logs: Vec<LogPosition>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordsCursor {
    pub(crate) store: [u8; 16],
    pub(crate) position: ScanPosition,
}

impl FeedCursor {
    pub(crate) fn write(&self) -> Cursor {
        write(FEED, self)
    }

    pub(crate) fn read(cursor: &Cursor, store: [u8; 16]) -> Result<Self, StoreError> {
        read(FEED, cursor, |cursor: &Self| cursor.store == store)
    }
}

impl RecordsCursor {
    pub(crate) fn write(&self) -> Cursor {
        write(RECORDS, self)
    }

    pub(crate) fn read(cursor: &Cursor, store: [u8; 16]) -> Result<Self, StoreError> {
        read(RECORDS, cursor, |cursor: &Self| cursor.store == store)
    }
}

fn write(kind: u8, cursor: &impl Serialize) -> Cursor {
    let bytes = postcard::to_extend(cursor, vec![kind]);
    Cursor::new(bytes.expect("bytes and numbers can always be written"))
}

fn read<T: DeserializeOwned>(
    kind: u8,
    cursor: &Cursor,
    is_ours: impl Fn(&T) -> bool,
) -> Result<T, StoreError> {
    let bytes = cursor.as_bytes().strip_prefix(&[kind]);
    let parsed = bytes.and_then(|bytes| postcard::take_from_bytes(bytes).ok());
    match parsed {
        Some((cursor, [])) if is_ours(&cursor) => Ok(cursor),
        _ => Err(StoreError::ForeignCursor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: [u8; 16] = [1; 16];

    #[test]
    fn cursors_round_trip_and_nothing_else_parses() {
        let position = ScanPosition {
            page: vec![1, 2, 3],
            last: Some([7; 16]),
        };
        let log = LogPosition {
            writer: 1,
            from: 2,
            last: 3,
            mark: -4,
            pass: None,
        };
        let in_pass = LogPosition {
            pass: Some(Pass {
                at: 5,
                goal: 6,
                mark: 7,
                settled: 8,
            }),
            ..log
        };
        let later = Load {
            table: Table::Uses,
            position: position.clone(),
        };
        for load in [None, Some(Load::default()), Some(later)] {
            for logs in [vec![], vec![log], vec![in_pass, log]] {
                let load = load.clone();
                let cursor = FeedCursor {
                    store: STORE,
                    load,
                    logs,
                };
                let written = cursor.write();
                assert_eq!(FeedCursor::read(&written, STORE).ok(), Some(cursor));
                assert!(FeedCursor::read(&written, [2; 16]).is_err());
                assert!(RecordsCursor::read(&written, STORE).is_err());
                let longer = Cursor::new([written.as_bytes(), &[0]].concat());
                assert!(FeedCursor::read(&longer, STORE).is_err());
            }
        }
        let cursor = RecordsCursor {
            store: STORE,
            position,
        };
        let read = RecordsCursor::read(&cursor.write(), STORE);
        assert_eq!(read.ok(), Some(cursor));
        assert!(FeedCursor::read(&Cursor::new(Vec::new()), STORE).is_err());
    }
}
