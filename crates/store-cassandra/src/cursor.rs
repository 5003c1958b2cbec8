//! Positions in the feed, in a full load and in the records, as bytes.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tower_revoke_core::{Cursor, StoreError};

use crate::log::Table;

/// What a cursor of the store contains, beside the id of the store.
pub(crate) trait Position: Serialize + DeserializeOwned {
    /// The first byte: the kind of cursor, and its version.
    const KIND: u8;

    fn write(&self, store: &[u8; 16]) -> Cursor {
        let bytes = postcard::to_extend(&(store, self), vec![Self::KIND]);
        Cursor::new(bytes.expect("bytes and numbers can always be written"))
    }

    fn read(cursor: &Cursor, store: &[u8; 16]) -> Result<Self, StoreError> {
        let bytes = cursor.as_bytes().strip_prefix(&[Self::KIND]);
        let parsed =
            bytes.and_then(|bytes| postcard::take_from_bytes::<([u8; 16], Self)>(bytes).ok());
        match parsed {
            Some(((of, position), [])) if of == *store => Ok(position),
            _ => Err(StoreError::ForeignCursor),
        }
    }
}

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

impl LogPosition {
    pub(crate) fn new(writer: i64, from: i64, last: i64, mark: i64) -> Self {
        Self {
            writer,
            from,
            last,
            mark,
            pass: None,
        }
    }
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
    pub(crate) load: Option<Load>,
    pub(crate) logs: Vec<LogPosition>,
}

impl Position for FeedCursor {
    const KIND: u8 = 1;
}

/// Of the records.
impl Position for ScanPosition {
    const KIND: u8 = 2;
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
                let cursor = FeedCursor { load, logs };
                let written = cursor.write(&STORE);
                assert_eq!(FeedCursor::read(&written, &STORE).ok(), Some(cursor));
                assert!(FeedCursor::read(&written, &[2; 16]).is_err());
                assert!(ScanPosition::read(&written, &STORE).is_err());
                let longer = Cursor::new([written.as_bytes(), &[0]].concat());
                assert!(FeedCursor::read(&longer, &STORE).is_err());
            }
        }
        let read = ScanPosition::read(&position.write(&STORE), &STORE);
        assert_eq!(read.ok(), Some(position));
        assert!(FeedCursor::read(&Cursor::new(Vec::new()), &STORE).is_err());
    }
}
