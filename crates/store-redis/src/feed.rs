//! The feed: a stream under each tag, followed by a cursor with a place in every one of them.

use futures_util::future::try_join_all;
use redis::Value;
use tower_revoke_core::{Change, Changes, Cursor, KeyDigest, StoreError, UnixTime};

use crate::{
    RedisStoreError,
    ask::Question,
    error::Failure,
    scripts::SCRIPTS,
    store::Inner,
    value::{bytes, list},
    wire,
};

/// Entries of the feed in one answer, over all tags.
const ENTRIES: usize = 1024;

/// Keys in one page of a load.
const PAGE: usize = 2048;

/// The id of an entry: milliseconds by the server's clock, and a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryId(u64, u64);

impl EntryId {
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let (millis, number) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self(millis.parse().ok()?, number.parse().ok()?))
    }

    pub(crate) fn write(self) -> String {
        format!("{}-{}", self.0, self.1)
    }
}

/// An entry that was seen, told from any of another history by its stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: EntryId,
    stamp: [u8; 8],
}

/// The number of the index of uses among those that a load reads; before it, what is listed.
const USES: usize = 1;

/// Where in a sorted index somebody is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) tag: usize,
    pub(crate) index: usize,
    /// The score as the server writes it, and the keys that stand there; both empty at the start.
    pub(crate) score: Vec<u8>,
    pub(crate) keys: Vec<u8>,
}

/// What a cursor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Feed(Vec<Seen>),
    /// Everything that is alive is being read; what has changed since is read from there.
    Load(Vec<Seen>, Place),
    /// A page of records.
    Records(Place),
}

impl Mark {
    pub(crate) fn encode(&self, store: &[u8; 16]) -> Cursor {
        let (letter, seen, place): (u8, &[Seen], _) = match self {
            Self::Feed(seen) => (b'F', seen, None),
            Self::Load(seen, place) => (b'L', seen, Some(place)),
            Self::Records(place) => (b'R', &[], Some(place)),
        };
        let mut bytes = vec![letter];
        bytes.extend(store);
        for seen in seen {
            bytes.extend(seen.id.0.to_be_bytes());
            bytes.extend(seen.id.1.to_be_bytes());
            bytes.extend(seen.stamp);
        }
        if let Some(place) = place {
            bytes.push(place.tag as u8);
            bytes.push(place.index as u8);
            bytes.extend((place.keys.len() as u16).to_be_bytes());
            bytes.extend(&place.keys);
            bytes.extend(&place.score);
        }
        Cursor::new(bytes)
    }

    pub(crate) fn decode(
        cursor: &Cursor,
        store: &[u8; 16],
        tags: usize,
    ) -> Result<Self, StoreError> {
        Self::read(cursor.as_bytes(), store, tags).ok_or(StoreError::ForeignCursor)
    }

    fn read(bytes: &[u8], store: &[u8; 16], tags: usize) -> Option<Self> {
        let (letter, bytes) = bytes.split_first()?;
        let bytes = bytes.strip_prefix(store)?;
        if *letter == b'R' {
            return Some(Self::Records(Self::place(bytes, tags, 1)?));
        }
        let (seen, rest) = bytes.split_at_checked(tags * 24)?;
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).ok();
        let seen = seen.chunks_exact(24).map(|seen| {
            Some(Seen {
                id: EntryId(number(&seen[..8])?, number(&seen[8..16])?),
                stamp: seen[16..].try_into().ok()?,
            })
        });
        let seen = seen.collect::<Option<_>>()?;
        match letter {
            b'F' if rest.is_empty() => Some(Self::Feed(seen)),
            b'L' => Some(Self::Load(seen, Self::place(rest, tags, 2)?)),
            _ => None,
        }
    }

    fn place(bytes: &[u8], tags: usize, indexes: usize) -> Option<Place> {
        let [tag, index, high, low, rest @ ..] = bytes else {
            return None;
        };
        let length = u16::from_be_bytes([*high, *low]);
        let (keys, score) = rest.split_at_checked(usize::from(length))?;
        let place = Place {
            tag: usize::from(*tag),
            index: usize::from(*index),
            score: score.to_vec(),
            keys: keys.to_vec(),
        };
        (place.tag < tags && place.index < indexes).then_some(place)
    }
}

/// What stands in an index.
pub(crate) struct Row {
    pub(crate) key: KeyDigest,
    pub(crate) value: Vec<u8>,
    pub(crate) said: Vec<u8>,
}

impl Inner {
    pub(crate) async fn changes(&self, since: Option<&Cursor>) -> Result<Changes, StoreError> {
        let tags = self.keys.len();
        let mark = since.map(|cursor| Mark::decode(cursor, &self.id, tags));
        match mark.transpose()? {
            Some(Mark::Feed(seen)) => self.follow(seen).await,
            Some(Mark::Load(seen, place)) => self.load(seen, place).await,
            Some(Mark::Records(_)) => Err(StoreError::ForeignCursor),
            // Taken first: what changes while all is read comes again afterwards.
            None => self.load(self.ends().await?, Place::default()).await,
        }
    }

    /// The last entry under each tag.
    async fn ends(&self) -> Result<Vec<Seen>, StoreError> {
        let asked = (0..self.keys.len()).map(|tag| self.entries(tag, None, 1));
        let ends = self.or_error(try_join_all(asked).await).await?;
        let mut seen = Vec::new();
        for answer in &ends {
            let entries = list(answer).get(1..).unwrap_or_default();
            seen.push(match entries.first() {
                Some(_) => entry(entries).ok_or_else(garbled)?,
                None => Seen::default(),
            });
        }
        Ok(seen)
    }

    async fn follow(&self, mut seen: Vec<Seen>) -> Result<Changes, StoreError> {
        let at_most = (ENTRIES / seen.len()).max(1);
        let asked = seen.iter().enumerate();
        let asked = asked.map(|(tag, seen)| self.entries(tag, Some(*seen), at_most));
        let answers = self.or_error(try_join_all(asked).await).await?;
        let said = |word: &[u8]| {
            let mut words = answers.iter().filter_map(|answer| list(answer).first());
            words.any(|said| bytes(said) == word)
        };
        if said(b"back") {
            return Err(StoreError::HistoryWentBack);
        }
        if said(b"old") {
            return Err(StoreError::CursorTooOld);
        }
        let mut changes = Vec::new();
        let mut more = false;
        for (answer, seen) in answers.iter().zip(&mut seen) {
            let entries = list(answer).get(1..).unwrap_or_default().chunks_exact(3);
            more |= entries.len() == at_most;
            for one in entries {
                *seen = entry(one).ok_or_else(garbled)?;
                wire::read_changes(bytes(&one[2]), &mut changes).ok_or_else(garbled)?;
            }
        }
        Ok(Changes {
            changes,
            next: Mark::Feed(seen).encode(&self.id),
            more,
        })
    }

    async fn entries(
        &self,
        tag: usize,
        since: Option<Seen>,
        at_most: usize,
    ) -> Result<Value, Failure> {
        let keys = &self.keys[tag];
        let mut call = SCRIPTS.feed.on(&[&keys.feed, &keys.meta]);
        let id = since.map_or_else(String::new, |seen| seen.id.write());
        let stamp = since.unwrap_or_default().stamp;
        call.arg(at_most).arg(id).arg(&stamp[..]);
        self.asker.ask(tag, &Question::read(call)).await
    }

    /// One page of everything that is alive: of each tag what is listed, then what is spent.
    async fn load(&self, seen: Vec<Seen>, place: Place) -> Result<Changes, StoreError> {
        let mut changes = Vec::new();
        let mut room = PAGE;
        let is_first = place == Place::default();
        let mut next = Some(place);
        // What has room in one page comes in one, also where it is spread over many tags.
        while let Some(place) = next.take_if(|_| room > 0) {
            let (read, end) = self.load_from(&place, room, &mut changes).await?;
            room = room.saturating_sub(read);
            next = end.or_else(|| self.next_index(&place));
        }
        // What was written during a load of several pages stands in the feed.
        let more = next.is_some() || !is_first;
        let next = match next {
            Some(place) => Mark::Load(seen, place),
            None => Mark::Feed(seen),
        };
        Ok(Changes {
            changes,
            next: next.encode(&self.id),
            more,
        })
    }

    /// How much was read, and where there may be more in the same index.
    async fn load_from(
        &self,
        place: &Place,
        at_most: usize,
        changes: &mut Vec<Change>,
    ) -> Result<(usize, Option<Place>), StoreError> {
        let is_listed = place.index != USES;
        let keys = &self.keys[place.tag];
        let page = if is_listed {
            let of = [keys.listed_index.as_str(), &keys.listed];
            self.page(place, &of, at_most).await
        } else {
            let of = [keys.uses_index.as_str(), &keys.uses, &keys.feed, &keys.meta];
            self.page(place, &of, at_most).await
        };
        let (rows, end) = self.or_error(page).await?;
        let read = rows.len();
        for Row { key, value, .. } in rows {
            let known = if is_listed {
                Some(wire::listed(&value).ok_or_else(garbled)?)
            } else {
                let spent = wire::spent(&value).ok_or_else(garbled)?;
                spent.map(|spent| (spent, UnixTime::EPOCH))
            };
            changes.extend(known.map(|(listed, at)| Change::Listed { key, listed, at }));
        }
        Ok((read, end))
    }

    fn next_index(&self, place: &Place) -> Option<Place> {
        let (tag, index) = match place.index {
            USES => (place.tag + 1, 0),
            _ => (place.tag, USES),
        };
        (tag < self.keys.len()).then(|| Place {
            tag,
            index,
            ..Place::default()
        })
    }

    /// What stands in an index after a place (`keys` are those of `load.lua`), and the place of the last if there may be more. Of
    /// uses a few more than `at_most` may come.
    pub(crate) async fn page(
        &self,
        place: &Place,
        keys: &[&str],
        at_most: usize,
    ) -> Result<(Vec<Row>, Option<Place>), Failure> {
        let mut call = SCRIPTS.load.on(keys);
        let kind = if place.index == USES {
            "uses"
        } else {
            "listed"
        };
        call.arg(at_most).arg(kind);
        call.arg(&place.score).arg(&place.keys);
        let answer = self.asker.ask(place.tag, &Question::read(call)).await?;
        let [score, last, rows @ ..] = list(&answer) else {
            return Err(RedisStoreError::Garbled("the answer to a load").into());
        };
        let next = (!bytes(last).is_empty()).then(|| Place {
            score: bytes(score).to_vec(),
            keys: bytes(last).to_vec(),
            ..place.clone()
        });
        let rows = rows.chunks_exact(3).filter_map(|row| {
            let [key, value, said] = row else {
                return None;
            };
            // An index may name what has gone.
            if bytes(value).is_empty() {
                return None;
            }
            let key = bytes(key).try_into().ok().map(KeyDigest::from_bytes);
            let key = key.ok_or(RedisStoreError::Garbled("a key"));
            Some(key.map(|key| Row {
                key,
                value: bytes(value).to_vec(),
                said: bytes(said).to_vec(),
            }))
        });
        Ok((rows.collect::<Result<_, _>>()?, next))
    }
}

/// The id and the stamp of an entry.
fn entry(values: &[Value]) -> Option<Seen> {
    let [id, stamp, ..] = values else {
        return None;
    };
    Some(Seen {
        id: EntryId::read(bytes(id))?,
        stamp: bytes(stamp).try_into().ok()?,
    })
}

pub(crate) fn garbled() -> StoreError {
    Failure::from(RedisStoreError::Garbled("what is stored")).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STORE: [u8; 16] = *b"one of ourstores";

    fn mark(tags: usize) -> impl Strategy<Value = Mark> {
        let seen = prop::collection::vec(
            (any::<u64>(), any::<u64>(), any::<[u8; 8]>()).prop_map(|(millis, number, stamp)| {
                Seen {
                    id: EntryId(millis, number),
                    stamp,
                }
            }),
            tags,
        );
        let place = (
            0..tags,
            0..2_usize,
            "[0-9inf.]{0,20}",
            prop::collection::vec(any::<[u8; 16]>(), 0..=60),
        )
            .prop_map(|(tag, index, score, keys)| Place {
                tag,
                index,
                score: score.into_bytes(),
                keys: keys.concat(),
            });
        (seen, place, 0..3).prop_map(|(seen, place, kind)| match kind {
            0 => Mark::Feed(seen),
            1 => Mark::Load(seen, place),
            _ => Mark::Records(Place { index: 0, ..place }),
        })
    }

    proptest! {
        #[test]
        fn a_cursor_says_what_it_said(mark in mark(16)) {
            let cursor = mark.encode(&STORE);
            prop_assert_eq!(Mark::read(cursor.as_bytes(), &STORE, 16), Some(mark));
        }

        #[test]
        fn bytes_of_others_are_foreign(bytes: Vec<u8>) {
            let _ = Mark::read(&bytes, &STORE, 1);
            let of_another = [&b"F"[..], b"one of their store", &bytes].concat();
            prop_assert_eq!(Mark::read(&of_another, &STORE, 1), None);
        }
    }

    #[test]
    fn a_cursor_of_another_store_is_foreign() {
        let cursor = Mark::Feed(vec![Seen::default()]).encode(&[1; 16]);
        assert!(Mark::decode(&cursor, &[1; 16], 1).is_ok());
        assert!(matches!(
            Mark::decode(&cursor, &[2; 16], 1),
            Err(StoreError::ForeignCursor)
        ));
        assert!(matches!(
            Mark::decode(&cursor, &[1; 16], 16),
            Err(StoreError::ForeignCursor)
        ));
    }
}
