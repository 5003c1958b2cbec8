//! Positions in the feed, in a full load and in the records, as bytes.

use serde::{Deserialize, Serialize};
use tower_revoke_core::{Cursor, StoreError};

/// The id of an entry of a stream: milliseconds by the server's clock, and a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct EntryId(u64, u64);

impl EntryId {
    /// Later than any other.
    pub(crate) const LAST: Self = Self(u64::MAX, u64::MAX);

    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let (millis, number) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self(millis.parse().ok()?, number.parse().ok()?))
    }

    pub(crate) fn write(self) -> String {
        format!("{}-{}", self.0, self.1)
    }
}

/// An entry that was seen. Its stamp distinguishes it from any entry of another history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenEntry {
    pub(crate) id: EntryId,
    pub(crate) stamp: [u8; 8],
}

/// The number of the index of uses among those that a load reads; revocations are 0.
pub(crate) const USES: usize = 1;

/// A position in a sorted index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexPosition {
    pub(crate) tag: usize,
    pub(crate) index: usize,
    /// The score as the server writes it, and the member; both empty at the start.
    pub(crate) score: Vec<u8>,
    pub(crate) keys: Vec<u8>,
}

/// The content of a cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Position {
    Feed(Vec<SeenEntry>),
    /// A load, and where the feed is read from after it.
    Load(Vec<SeenEntry>, IndexPosition),
    /// A page of records.
    Records(IndexPosition),
    /// A page of issued tokens, and the last hash in it.
    Issued([u8; 32]),
}

impl Position {
    /// The cursor of a store with this id.
    pub(crate) fn encode(&self, store: &[u8; 16]) -> Cursor {
        let bytes = postcard::to_extend(self, store.to_vec());
        Cursor::new(bytes.expect("bytes and numbers can always be written"))
    }

    pub(crate) fn decode(
        cursor: &Cursor,
        store: &[u8; 16],
        tags: usize,
    ) -> Result<Self, StoreError> {
        let bytes = cursor.as_bytes().strip_prefix(store);
        match bytes.and_then(|bytes| postcard::take_from_bytes(bytes).ok()) {
            Some((mark, [])) if Self::fits(&mark, tags) => Ok(mark),
            _ => Err(StoreError::ForeignCursor),
        }
    }

    fn fits(&self, tags: usize) -> bool {
        let is_in =
            |position: &IndexPosition, indexes| position.tag < tags && position.index < indexes;
        match self {
            Self::Feed(seen) => seen.len() == tags,
            Self::Load(seen, position) => seen.len() == tags && is_in(position, USES + 1),
            Self::Records(position) => is_in(position, USES),
            Self::Issued(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STORE: [u8; 16] = *b"one of ourstores";

    fn mark(tags: usize) -> impl Strategy<Value = Position> {
        let seen = prop::collection::vec(
            (any::<u64>(), any::<u64>(), any::<[u8; 8]>()).prop_map(|(millis, number, stamp)| {
                SeenEntry {
                    id: EntryId(millis, number),
                    stamp,
                }
            }),
            tags,
        );
        let position = (
            0..tags,
            0..2_usize,
            "[0-9inf.]{0,20}",
            prop::collection::vec(any::<[u8; 16]>(), 0..=60),
        )
            .prop_map(|(tag, index, score, keys)| IndexPosition {
                tag,
                index,
                score: score.into_bytes(),
                keys: keys.concat(),
            });
        let all = (seen, position, any::<[u8; 32]>(), 0..4);
        all.prop_map(|(seen, position, hash, kind)| match kind {
            0 => Position::Feed(seen),
            1 => Position::Load(seen, position),
            2 => Position::Issued(hash),
            _ => Position::Records(IndexPosition {
                index: 0,
                ..position
            }),
        })
    }

    proptest! {
        #[test]
        fn a_cursor_round_trips(mark in mark(16)) {
            let cursor = mark.encode(&STORE);
            prop_assert_eq!(Position::decode(&cursor, &STORE, 16).ok(), Some(mark));
            let longer = Cursor::new([cursor.as_bytes(), &[0]].concat());
            prop_assert!(Position::decode(&longer, &STORE, 16).is_err());
        }

        #[test]
        fn foreign_bytes_are_rejected(bytes: Vec<u8>) {
            let ours = Cursor::new([&STORE[..], &bytes].concat());
            let _ = Position::decode(&ours, &STORE, 1);
            let other = Cursor::new([&b"one of theirs..."[..], &bytes].concat());
            prop_assert!(Position::decode(&other, &STORE, 1).is_err());
        }
    }

    #[test]
    fn a_cursor_of_another_store_is_foreign() {
        let cursor = Position::Feed(vec![SeenEntry::default()]).encode(&[1; 16]);
        assert!(Position::decode(&cursor, &[1; 16], 1).is_ok());
        for (store, tags) in [([2; 16], 1), ([1; 16], 16)] {
            let error = Position::decode(&cursor, &store, tags).unwrap_err();
            assert!(matches!(error, StoreError::ForeignCursor));
        }
    }
}
