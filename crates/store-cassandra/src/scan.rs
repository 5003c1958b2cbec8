//! Reading all that is there, page by page, in the order of the partitioner: full loads, records, and
//! what has ended.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use scylla::{DeserializeRow, value::CqlValue};
use tokio::time::Instant;
use tower_revoke_core::{
    BoxFuture, Cursor, KeyDigest, RecordFilter, RecordPage, Records, StoreError, UnixTime,
};

use crate::{
    CassandraStore,
    cursor::{RecordsCursor, ScanPlace},
    error::Failure,
    link::{Deadline, was_applied},
    said::{Key, Row, secs},
    store::{AT_ONCE, Inner, by_key, key_of},
    uses::{self, NOTICE},
};

/// Rows that are read at once while somebody looks for a few.
const ROWS: i32 = 1_000;

/// For how long a writer that says nothing is still taken for one that may come back.
const DAY: Duration = Duration::from_secs(86_400);

/// A row of the uses of a token.
pub(crate) struct UsesRow {
    pub(crate) key: KeyDigest,
    pub(crate) max_uses: Option<i64>,
    pub(crate) held: Option<i64>,
    turn: Option<i64>,
    pub(crate) until: Option<i64>,
}

#[derive(DeserializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
struct ScannedUses {
    place: i64,
    token: Vec<u8>,
    max_uses: Option<i64>,
    held: Option<i64>,
    turn: Option<i64>,
    until: Option<i64>,
}

/// The position of a row, and the row.
struct Scanned(i64, Row);

impl<'frame, 'metadata> scylla::deserialize::row::DeserializeRow<'frame, 'metadata> for Scanned {
    fn type_check(
        specs: &[scylla::frame::response::result::ColumnSpec],
    ) -> Result<(), scylla::deserialize::TypeCheckError> {
        Row::type_check(specs.get(1..).unwrap_or_default())
    }

    fn deserialize(
        mut columns: scylla::deserialize::row::ColumnIterator<'frame, 'metadata>,
    ) -> Result<Self, scylla::deserialize::DeserializationError> {
        let place = columns.next().transpose()?;
        let bytes = place
            .and_then(|place| place.slice)
            .map(|slice| slice.as_slice());
        let place = bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(i64::from_be_bytes);
        // The partitioner gives every key a place.
        Ok(Self(place.unwrap_or(i64::MIN), Row::deserialize(columns)?))
    }
}

/// From where to read on, and whether this key at this place was read before.
fn is_read(after: Option<ScanPlace>, place: i64, key: &[u8]) -> bool {
    after.is_some_and(|after| place == after.token && key <= after.last.as_slice())
}

fn bound(after: Option<ScanPlace>) -> i64 {
    after.map_or(i64::MIN, |after| after.token)
}

impl Inner {
    /// The keys after a place, and the place from which there may be more.
    pub(crate) async fn scan_said(
        &self,
        deadline: Deadline,
        after: Option<ScanPlace>,
        at_most: i32,
    ) -> Result<(Vec<(KeyDigest, Key)>, Option<ScanPlace>), Failure> {
        let values = (bound(after), at_most);
        let rows: Vec<Scanned> = self
            .link
            .rows(deadline, &self.statements.scan_said, values)
            .await?;
        let is_full = rows.len() >= usize::try_from(at_most).unwrap_or(0);
        let Some((token, last)) = rows.last().map(|last| (last.0, last.1.digest.clone())) else {
            return Ok((Vec::new(), None));
        };
        let last = key_of(&last)?;
        let rows = rows
            .into_iter()
            .filter(|row| !is_read(after, row.0, &row.1.digest));
        let mut keys = by_key(rows.map(|row| row.1).collect())?;
        if !is_full {
            return Ok((keys, None));
        }
        // The page may have ended between two rows of one key.
        if keys.last().is_some_and(|(key, _)| *key == last) {
            keys.pop();
            keys.extend(self.said(deadline, &[last]).await?);
        }
        let next = ScanPlace {
            token,
            last: *last.as_bytes(),
        };
        // More rows under one place of the partitioner than a page has: they were all of that key.
        let next = if Some(next) == after && token < i64::MAX {
            ScanPlace {
                token: token + 1,
                last: [0; 16],
            }
        } else {
            next
        };
        Ok((keys, Some(next)))
    }

    /// The same of uses.
    pub(crate) async fn scan_uses(
        &self,
        deadline: Deadline,
        after: Option<ScanPlace>,
        at_most: i32,
    ) -> Result<(Vec<UsesRow>, Option<ScanPlace>), Failure> {
        let values = (bound(after), at_most);
        let rows: Vec<ScannedUses> = self
            .link
            .rows(deadline, &self.statements.scan_uses, values)
            .await?;
        let is_full = rows.len() >= usize::try_from(at_most).unwrap_or(0);
        let next = match rows.last() {
            Some(last) if is_full => Some(ScanPlace {
                token: last.place,
                last: *key_of(&last.token)?.as_bytes(),
            }),
            _ => None,
        };
        let rows = rows
            .into_iter()
            .filter(|row| !is_read(after, row.place, &row.token));
        let rows = rows.map(|row| {
            Ok(UsesRow {
                key: key_of(&row.token)?,
                max_uses: row.max_uses,
                held: row.held,
                turn: row.turn,
                until: row.until,
            })
        });
        Ok((rows.collect::<Result<_, Failure>>()?, next))
    }

    pub(crate) async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        // First, so that nobody wins what is forgotten by then.
        self.purge_begins(before).await?;
        let forgets = Instant::now() + NOTICE;
        let mut dropped = 0;
        let mut after = None;
        loop {
            let deadline = self.link.deadline();
            let (keys, next) = self.scan_said(deadline, after, ROWS).await?;
            let ended = keys.iter().filter_map(|(key, stands)| {
                let ids = stands.ended(before);
                (!ids.is_empty()).then_some((*key, ids))
            });
            let ended: Vec<_> = ended.collect();
            dropped += ended.len() as u64;
            stream::iter(ended)
                .map(|(key, ids)| async move {
                    let deadline = self.link.deadline();
                    let unsay = ids.into_iter().map(|id| {
                        let key = CqlValue::Blob(key.as_bytes().to_vec());
                        let values = vec![Some(key), Some(CqlValue::Blob(id))];
                        (self.statements.unsay.clone(), values)
                    });
                    self.link.ask_all(deadline, unsay.collect()).await.map(drop)
                })
                .buffer_unordered(AT_ONCE)
                .try_collect::<()>()
                .await?;
            after = next;
            if after.is_none() {
                break;
            }
        }
        loop {
            let deadline = self.link.deadline();
            let (rows, next) = self.scan_uses(deadline, after, ROWS).await?;
            let ended = rows
                .into_iter()
                .filter(|row| uses::ended(row.until, before));
            let ended: Vec<_> = ended.collect();
            if !ended.is_empty() {
                tokio::time::sleep_until(forgets).await;
            }
            let forgotten: Vec<bool> = stream::iter(ended)
                .map(|row| async move {
                    self.forget(row.key.as_bytes(), row.turn, row.max_uses)
                        .await
                })
                .buffer_unordered(AT_ONCE / 4)
                .try_collect()
                .await?;
            dropped += forgotten.into_iter().filter(|forgotten| *forgotten).count() as u64;
            after = next;
            if after.is_none() {
                break;
            }
        }
        self.retire_writers(before).await?;
        Ok(dropped)
    }

    async fn purge_begins(&self, before: UnixTime) -> Result<(), Failure> {
        let deadline = self.link.deadline();
        let before = secs(before);
        loop {
            let known: Vec<(Option<i64>,)> = self
                .link
                .rows(deadline, &self.statements.purged_before, ())
                .await?;
            let known = known.first().and_then(|(known,)| *known);
            if known.is_some_and(|known| known >= before) {
                return Ok(());
            }
            let begins = &self.statements.purge_begins;
            if was_applied(self.link.ask(deadline, begins, (before, known)).await?)? {
                return Ok(());
            }
        }
    }

    /// Forgets the logs of those who have said nothing for a long time, and later who they were.
    async fn retire_writers(&self, before: UnixTime) -> Result<(), Failure> {
        let deadline = self.link.deadline();
        let long = self.keep.max(DAY);
        let silent = secs(before.min(self.clock.now()).saturating_sub(long));
        let forgotten = secs(before.min(self.clock.now()).saturating_sub(long * 2));
        type Known = (i64, Option<i64>, Option<bool>, Option<i64>, Option<i64>);
        let known: Vec<Known> = self
            .link
            .rows(deadline, &self.statements.writers, ())
            .await?;
        for (writer, beat, retired, ..) in known {
            let beat = beat.unwrap_or(0);
            if retired == Some(true) && beat < forgotten {
                self.link
                    .ask(deadline, &self.statements.forget_writer, (writer,))
                    .await?;
            } else if retired != Some(true) && beat < silent {
                self.link
                    .ask(deadline, &self.statements.retire, (writer,))
                    .await?;
                self.link
                    .ask(deadline, &self.statements.trim, (writer, i64::MAX))
                    .await?;
            }
        }
        Ok(())
    }
}

/// In the order of the partitioner.
impl Records for CassandraStore {
    fn page<'a>(
        &'a self,
        wanted: &'a RecordFilter,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>> {
        Box::pin(self.0.records(wanted, after, at_most.clamp(1, 10_000)))
    }
}

impl Inner {
    async fn records(
        &self,
        wanted: &RecordFilter,
        after: Option<&Cursor>,
        at_most: usize,
    ) -> Result<RecordPage, StoreError> {
        let after = after
            .map(|after| RecordsCursor::read(after, self.id))
            .transpose()?;
        let mut after = after.map(|after| after.place);
        let mut page = RecordPage::default();
        if let Some(key) = wanted.only_key() {
            let found = self.said(self.link.deadline(), &[*key]).await?;
            let records = found.iter().filter_map(|(key, stands)| stands.record(*key));
            if after.is_none() {
                page.records
                    .extend(records.filter(|record| wanted.wants(record)));
            }
            return Ok(page);
        }
        loop {
            let (keys, next) = self.scan_said(self.link.deadline(), after, ROWS).await?;
            for (key, stands) in keys {
                let Some(record) = stands.record(key).filter(|record| wanted.wants(record)) else {
                    continue;
                };
                if page.records.len() == at_most {
                    // There is one more.
                    let last = page.records.last().map(|last| last.digest);
                    page.next = last.map(|last| self.place_of(&last));
                    return Ok(page);
                }
                page.records.push(record);
            }
            after = next;
            if after.is_none() {
                return Ok(page);
            }
        }
    }

    fn place_of(&self, key: &KeyDigest) -> Cursor {
        let scan = &self.statements.unsay;
        let token = scan.calculate_token(&(key.as_bytes().as_slice(), &[0_u8; 16][..]));
        let token = token.ok().flatten().map_or(i64::MIN, |token| token.value());
        let place = ScanPlace {
            token,
            last: *key.as_bytes(),
        };
        RecordsCursor {
            store: self.id,
            place,
        }
        .write()
    }
}
