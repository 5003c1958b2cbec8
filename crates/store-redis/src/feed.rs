//! The feed: one stream per tag, and a cursor with a position in each.

use futures_util::future::try_join_all;
use redis::Value;
use tower_revoke_core::{Change, Changes, Cursor, KeyDigest, StoreError};

use crate::{
    client::Request,
    cursor::{EntryId, IndexPosition, Position, SeenEntry, USES},
    error::{Failure, RedisStoreError, malformed},
    inner::Inner,
    scripts::SCRIPTS,
    value::{bytes, list},
    watch::ENTRIES,
    wire,
};

/// Keys in one page of a load.
const PAGE: usize = 2048;

/// An entry that an index names.
pub(crate) struct Row {
    pub(crate) key: KeyDigest,
    pub(crate) value: Vec<u8>,
    pub(crate) details: Vec<u8>,
}

impl Inner {
    pub(crate) async fn changes(&self, since: Option<&Cursor>) -> Result<Changes, StoreError> {
        let (seen, position) = match self.position(since)? {
            Some(Position::Feed(seen)) => return self.follow(seen).await,
            Some(Position::Load(seen, position)) => (seen, position),
            Some(Position::Records(_) | Position::Issued(_)) => {
                return Err(StoreError::ForeignCursor);
            }
            // Taken before the load: changes during it are read from here afterwards.
            None => (self.ends().await?, IndexPosition::default()),
        };
        let is_first = position == IndexPosition::default();
        let page = self.load(seen, position).await?;
        Ok(Changes {
            // Writes during a load of several pages are in the feed.
            more: page.more || !is_first,
            ..page
        })
    }

    /// Returns the cursor after the last entry of each tag.
    pub(crate) async fn end(&self) -> Result<Cursor, StoreError> {
        Ok(Position::Feed(self.ends().await?).encode(&self.id))
    }

    /// Reads a page of everything in force. It needs no position in the feed.
    pub(crate) async fn listed(&self, after: Option<&Cursor>) -> Result<Changes, StoreError> {
        let (seen, position) = match self.position(after)? {
            None => (
                vec![SeenEntry::default(); self.keys.len()],
                IndexPosition::default(),
            ),
            Some(Position::Load(seen, position)) => (seen, position),
            Some(_) => return Err(StoreError::ForeignCursor),
        };
        self.load(seen, position).await
    }

    fn position(&self, cursor: Option<&Cursor>) -> Result<Option<Position>, StoreError> {
        let decode = |cursor| Position::decode(cursor, &self.id, self.keys.len());
        cursor.map(decode).transpose()
    }

    /// Returns the last entry of each tag.
    async fn ends(&self) -> Result<Vec<SeenEntry>, StoreError> {
        let asked = (0..self.keys.len()).map(|tag| self.entries(tag, None, 1));
        let ends = self.or_error(try_join_all(asked).await).await?;
        let mut seen = Vec::new();
        for answer in &ends {
            let entries = list(answer).get(1..).unwrap_or_default();
            seen.push(match entries.first() {
                Some(_) => entry(entries).ok_or_else(malformed)?,
                None => SeenEntry::default(),
            });
        }
        Ok(seen)
    }

    async fn follow(&self, mut seen: Vec<SeenEntry>) -> Result<Changes, StoreError> {
        let at_most = (ENTRIES / seen.len()).max(1);
        let asked = seen.iter().enumerate();
        let asked = asked.map(|(tag, seen)| self.entries(tag, Some(*seen), at_most));
        let answers = self.or_error(try_join_all(asked).await).await?;
        let has_status = |word: &[u8]| {
            let mut words = answers.iter().filter_map(|answer| list(answer).first());
            words.any(|status| bytes(status) == word)
        };
        if has_status(b"back") {
            return Err(StoreError::HistoryWentBack);
        }
        if has_status(b"old") {
            return Err(StoreError::CursorTooOld);
        }
        let mut changes = Vec::new();
        let mut more = false;
        for (answer, seen) in answers.iter().zip(&mut seen) {
            let entries = list(answer).get(1..).unwrap_or_default().chunks_exact(3);
            more |= entries.len() == at_most;
            for one in entries {
                *seen = entry(one).ok_or_else(malformed)?;
                wire::read_changes(bytes(&one[2]), &mut changes).ok_or_else(malformed)?;
            }
        }
        Ok(Changes {
            changes,
            next: Position::Feed(seen).encode(&self.id),
            more,
        })
    }

    /// Waits for changes after a position. `None` if they may not be all that follow it.
    pub(crate) async fn news(&self, seen: &[SeenEntry]) -> Option<Changes> {
        let watch = &self.watch;
        let news = watch.changed(&self.client, &self.feeds, seen).await?;
        Some(Changes {
            next: Position::Feed(news.seen).encode(&self.id),
            changes: news.changes,
            more: news.more,
        })
    }

    async fn entries(
        &self,
        tag: usize,
        since: Option<SeenEntry>,
        at_most: usize,
    ) -> Result<Value, Failure> {
        let mut call = SCRIPTS.feed.on(&self.keys[tag].all());
        let id = since.map_or_else(String::new, |seen| seen.id.write());
        let stamp = since.unwrap_or_default().stamp;
        call.arg(at_most).arg(id).arg(&stamp[..]);
        self.client.ask(tag, &Request::read(call)).await
    }

    /// Reads a page of everything in force: of each tag the revocations, then the used-up tokens. After
    /// the last page, which says that there is no more, the feed is to be followed from `seen`.
    async fn load(
        &self,
        seen: Vec<SeenEntry>,
        position: IndexPosition,
    ) -> Result<Changes, StoreError> {
        let mut changes = Vec::new();
        let mut room = PAGE;
        let mut next = Some(position);
        // A page is filled from as many tags as it takes.
        while let Some(position) = next.take_if(|_| room > 0) {
            let (read, end) = self.load_from(&position, room, &mut changes).await?;
            room = room.saturating_sub(read);
            next = end.or_else(|| self.next_index(&position));
        }
        let more = next.is_some();
        let next = match next {
            Some(position) => Position::Load(seen, position),
            None => Position::Feed(seen),
        };
        Ok(Changes {
            changes,
            next: next.encode(&self.id),
            more,
        })
    }

    /// Returns how much was read, and where the same index may have more.
    async fn load_from(
        &self,
        position: &IndexPosition,
        at_most: usize,
        changes: &mut Vec<Change>,
    ) -> Result<(usize, Option<IndexPosition>), StoreError> {
        let is_listed = position.index != USES;
        let kind = if is_listed { "listed" } else { "uses" };
        let (rows, end) = self.page(position, kind, at_most).await?;
        let read = rows.len();
        for Row { key, value, .. } in rows {
            changes.extend(if is_listed {
                let (listed, at) = wire::listed(&value).ok_or_else(malformed)?;
                Some(Change::Listed { key, listed, at })
            } else {
                let used_up = wire::spent(&value).ok_or_else(malformed)?;
                used_up.map(|listed| Change::UsedUp {
                    key,
                    until: listed.until(),
                })
            });
        }
        Ok((read, end))
    }

    fn next_index(&self, position: &IndexPosition) -> Option<IndexPosition> {
        let (tag, index) = match position.index {
            USES => (position.tag + 1, 0),
            _ => (position.tag, USES),
        };
        (tag < self.keys.len()).then(|| IndexPosition {
            tag,
            index,
            ..IndexPosition::default()
        })
    }

    /// Reads the entries of an index after a position, and returns the position of the last one if
    /// there may be more. `kind` is that of `load.lua`. There may be slightly more uses than `at_most`.
    pub(crate) async fn page(
        &self,
        position: &IndexPosition,
        kind: &str,
        at_most: usize,
    ) -> Result<(Vec<Row>, Option<IndexPosition>), StoreError> {
        let mut call = SCRIPTS.load.on(&self.keys[position.tag].all());
        call.arg(at_most).arg(kind);
        call.arg(&position.score).arg(&position.keys);
        let answer = self.client.ask(position.tag, &Request::read(call)).await;
        let answer = self.or_error(answer).await?;
        let wrong = |what| Failure::from(RedisStoreError::Malformed(what)).into();
        let [score, last, rows @ ..] = list(&answer) else {
            return Err(wrong("the answer to a load"));
        };
        let next = (!bytes(last).is_empty()).then(|| IndexPosition {
            score: bytes(score).to_vec(),
            keys: bytes(last).to_vec(),
            ..position.clone()
        });
        let rows = rows.chunks_exact(3).filter_map(|row| {
            let [key, value, details] = row else {
                return None;
            };
            // An index may name an entry that was removed.
            if bytes(value).is_empty() {
                return None;
            }
            let key = bytes(key).try_into().ok().map(KeyDigest::from_bytes);
            let key = key.ok_or_else(|| wrong("a key"));
            Some(key.map(|key| Row {
                key,
                value: bytes(value).to_vec(),
                details: bytes(details).to_vec(),
            }))
        });
        Ok((rows.collect::<Result<_, _>>()?, next))
    }
}

/// The id and the stamp of an entry.
fn entry(values: &[Value]) -> Option<SeenEntry> {
    let [id, stamp, ..] = values else {
        return None;
    };
    Some(SeenEntry {
        id: EntryId::read(bytes(id))?,
        stamp: bytes(stamp).try_into().ok()?,
    })
}
