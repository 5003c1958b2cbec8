//! The encoding of positions in the feed, in a full load and in the records as opaque cursors.

use tower_revoke_core::{Cursor, StoreError};

/// The first byte of a cursor: its kind, and the version of its format.
const FEED: u8 = 1;
const RECORDS: u8 = 2;
const ISSUED: u8 = 3;

/// A position in the feed, and during a full load the position in that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeedCursor {
    pub(crate) store: [u8; 16],
    /// The number of the last event that was seen, and its mark.
    pub(crate) position: i64,
    pub(crate) mark: i64,
    pub(crate) load: Option<Load>,
}

/// How far a full load has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// The revocations up to this one.
    Revoked(Option<[u8; 16]>),
    /// All revocations, and the tokens with taken uses up to this one.
    Uses(Option<[u8; 16]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordsCursor {
    pub(crate) store: [u8; 16],
    pub(crate) last: [u8; 16],
}

impl FeedCursor {
    pub(crate) fn write(&self) -> Cursor {
        let mut bytes = vec![FEED];
        bytes.extend(self.store);
        bytes.extend(self.position.to_be_bytes());
        bytes.extend(self.mark.to_be_bytes());
        let (what, last) = match self.load {
            None => (0, None),
            Some(Load::Revoked(last)) => (1, last),
            Some(Load::Uses(last)) => (2, last),
        };
        bytes.push(what);
        bytes.extend(last.into_iter().flatten());
        Cursor::new(bytes)
    }

    pub(crate) fn read(cursor: &Cursor) -> Result<Self, StoreError> {
        let mut rest = kind(FEED, cursor)?;
        let store = taken(&mut rest)?;
        let position = i64::from_be_bytes(taken(&mut rest)?);
        let mark = i64::from_be_bytes(taken(&mut rest)?);
        let [what] = taken(&mut rest)?;
        let last = match rest.len() {
            0 => None,
            _ => Some(taken(&mut rest)?),
        };
        let load = match (what, last) {
            (0, None) => None,
            (1, last) => Some(Load::Revoked(last)),
            (2, last) => Some(Load::Uses(last)),
            _ => return Err(StoreError::ForeignCursor),
        };
        match rest {
            [] if position >= 0 => Ok(Self {
                store,
                position,
                mark,
                load,
            }),
            _ => Err(StoreError::ForeignCursor),
        }
    }
}

impl RecordsCursor {
    pub(crate) fn write(&self) -> Cursor {
        let mut bytes = vec![RECORDS];
        bytes.extend(self.store);
        bytes.extend(self.last);
        Cursor::new(bytes)
    }

    pub(crate) fn read(cursor: &Cursor) -> Result<Self, StoreError> {
        let mut rest = kind(RECORDS, cursor)?;
        let (store, last) = (taken(&mut rest)?, taken(&mut rest)?);
        match rest {
            [] => Ok(Self { store, last }),
            _ => Err(StoreError::ForeignCursor),
        }
    }
}

/// The last token of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IssuedCursor {
    pub(crate) store: [u8; 16],
    pub(crate) last: [u8; 32],
}

impl IssuedCursor {
    pub(crate) fn write(&self) -> Cursor {
        Cursor::new([&[ISSUED][..], &self.store, &self.last].concat())
    }

    pub(crate) fn read(cursor: &Cursor) -> Result<Self, StoreError> {
        let mut rest = kind(ISSUED, cursor)?;
        let (store, last) = (taken(&mut rest)?, taken(&mut rest)?);
        match rest {
            [] => Ok(Self { store, last }),
            _ => Err(StoreError::ForeignCursor),
        }
    }
}

fn kind(kind: u8, cursor: &Cursor) -> Result<&[u8], StoreError> {
    match cursor.as_bytes().split_first() {
        Some((first, rest)) if *first == kind => Ok(rest),
        _ => Err(StoreError::ForeignCursor),
    }
}

fn taken<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], StoreError> {
    let (taken, left) = rest.split_first_chunk().ok_or(StoreError::ForeignCursor)?;
    *rest = left;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip_and_nothing_else_parses() {
        for load in [
            None,
            Some(Load::Revoked(None)),
            Some(Load::Revoked(Some([7; 16]))),
            Some(Load::Uses(None)),
            Some(Load::Uses(Some([9; 16]))),
        ] {
            let cursor = FeedCursor {
                store: [1; 16],
                position: 42,
                mark: -7,
                load,
            };
            let written = cursor.write();
            assert_eq!(FeedCursor::read(&written).ok(), Some(cursor));
            assert!(RecordsCursor::read(&written).is_err());
            let longer = Cursor::new([written.as_bytes(), &[0]].concat());
            assert!(FeedCursor::read(&longer).is_err());
            let (_, cut) = written.as_bytes().split_last().unwrap();
            let cut = Cursor::new(cut);
            assert!(FeedCursor::read(&cut).is_err());
        }
        let cursor = RecordsCursor {
            store: [1; 16],
            last: [2; 16],
        };
        assert_eq!(RecordsCursor::read(&cursor.write()).ok(), Some(cursor));
        assert!(FeedCursor::read(&Cursor::new(Vec::new())).is_err());
        let issued = IssuedCursor {
            store: [1; 16],
            last: [2; 32],
        };
        assert_eq!(IssuedCursor::read(&issued.write()).ok(), Some(issued));
        assert!(IssuedCursor::read(&cursor.write()).is_err());
    }
}
