//! Places in the feed, in a full load and in the records, in bytes that others keep.

use tower_revoke_core::{Cursor, StoreError};

/// Says which kind of cursor it is, and in which version.
const FEED: u8 = 1;
const RECORDS: u8 = 2;

/// How far somebody has read the log of one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) writer: i64,
    /// All up to here was done when it was read; what comes after it is read again.
    pub(crate) from: i64,
    /// The last entry that was seen, and its mark.
    pub(crate) last: i64,
    pub(crate) mark: i64,
    /// What is being read: how far, up to which entry, with which mark, and what was done then.
    pub(crate) pass: Option<Pass>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) at: i64,
    pub(crate) goal: i64,
    pub(crate) mark: i64,
    pub(crate) settled: i64,
}

/// Where in a table a scan stands: after a key, which has this token of the partitioner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScanPlace {
    pub(crate) token: i64,
    pub(crate) last: [u8; 16],
}

/// What of a full load was read. All that changed since it began comes after it, by the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Said(Option<ScanPlace>),
    /// All revocations, and uses up to this place.
    Uses(Option<ScanPlace>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FeedCursor {
    pub(crate) store: [u8; 16],
    pub(crate) load: Option<Load>,
    pub(crate) places: Vec<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordsCursor {
    pub(crate) store: [u8; 16],
    pub(crate) place: ScanPlace,
}

impl FeedCursor {
    pub(crate) fn write(&self) -> Cursor {
        let mut bytes = vec![FEED];
        bytes.extend(self.store);
        let (what, place) = match self.load {
            None => (0, None),
            Some(Load::Said(place)) => (1, place),
            Some(Load::Uses(place)) => (2, place),
        };
        bytes.push(what);
        bytes.push(u8::from(place.is_some()));
        if let Some(place) = place {
            write_place(&mut bytes, place);
        }
        for place in &self.places {
            for number in [place.writer, place.from, place.last, place.mark] {
                bytes.extend(number.to_be_bytes());
            }
            bytes.push(u8::from(place.pass.is_some()));
            if let Some(pass) = place.pass {
                for number in [pass.at, pass.goal, pass.mark, pass.settled] {
                    bytes.extend(number.to_be_bytes());
                }
            }
        }
        Cursor::new(bytes)
    }

    pub(crate) fn read(cursor: &Cursor, store: [u8; 16]) -> Result<Self, StoreError> {
        Self::parse(cursor.as_bytes(), store).ok_or(StoreError::ForeignCursor)
    }

    fn parse(bytes: &[u8], store: [u8; 16]) -> Option<Self> {
        let mut rest = of_kind(FEED, bytes, store)?;
        let [what, has_place] = taken(&mut rest)?;
        let place = match has_place {
            0 => None,
            1 => Some(read_place(&mut rest)?),
            _ => return None,
        };
        let load = match (what, place) {
            (0, None) => None,
            (1, place) => Some(Load::Said(place)),
            (2, place) => Some(Load::Uses(place)),
            _ => return None,
        };
        let mut places = Vec::new();
        while !rest.is_empty() {
            let [writer, from, last, mark] = numbers(&mut rest)?;
            let [has_pass] = taken(&mut rest)?;
            let pass = match has_pass {
                0 => None,
                1 => {
                    let [at, goal, mark, settled] = numbers(&mut rest)?;
                    Some(Pass {
                        at,
                        goal,
                        mark,
                        settled,
                    })
                }
                _ => return None,
            };
            places.push(Place {
                writer,
                from,
                last,
                mark,
                pass,
            });
        }
        Some(Self {
            store,
            load,
            places,
        })
    }
}

impl RecordsCursor {
    pub(crate) fn write(&self) -> Cursor {
        let mut bytes = vec![RECORDS];
        bytes.extend(self.store);
        write_place(&mut bytes, self.place);
        Cursor::new(bytes)
    }

    pub(crate) fn read(cursor: &Cursor, store: [u8; 16]) -> Result<Self, StoreError> {
        let parse = || {
            let mut rest = of_kind(RECORDS, cursor.as_bytes(), store)?;
            let place = read_place(&mut rest)?;
            rest.is_empty().then_some(Self { store, place })
        };
        parse().ok_or(StoreError::ForeignCursor)
    }
}

fn write_place(bytes: &mut Vec<u8>, place: ScanPlace) {
    bytes.extend(place.token.to_be_bytes());
    bytes.extend(place.last);
}

fn read_place(rest: &mut &[u8]) -> Option<ScanPlace> {
    Some(ScanPlace {
        token: i64::from_be_bytes(taken(rest)?),
        last: taken(rest)?,
    })
}

fn of_kind(kind: u8, bytes: &[u8], store: [u8; 16]) -> Option<&[u8]> {
    bytes.strip_prefix(&[kind])?.strip_prefix(&store)
}

fn numbers<const N: usize>(rest: &mut &[u8]) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = i64::from_be_bytes(taken(rest)?);
    }
    Some(numbers)
}

fn taken<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: [u8; 16] = [1; 16];

    #[test]
    fn cursors_come_back_and_nothing_else_is_one() {
        let scan = ScanPlace {
            token: -5,
            last: [7; 16],
        };
        let place = Place {
            writer: 1,
            from: 2,
            last: 3,
            mark: -4,
            pass: None,
        };
        let in_pass = Place {
            pass: Some(Pass {
                at: 5,
                goal: 6,
                mark: 7,
                settled: 8,
            }),
            ..place
        };
        for load in [None, Some(Load::Said(None)), Some(Load::Uses(Some(scan)))] {
            for places in [vec![], vec![place], vec![in_pass, place]] {
                let cursor = FeedCursor {
                    store: STORE,
                    load,
                    places,
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
            place: scan,
        };
        assert_eq!(
            RecordsCursor::read(&cursor.write(), STORE).ok(),
            Some(cursor)
        );
        assert!(FeedCursor::read(&Cursor::new(Vec::new()), STORE).is_err());
    }
}
