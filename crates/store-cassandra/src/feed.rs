//! The feed: follows the logs of all writers, and loads everything in force page by page.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use futures_util::future::try_join_all;
use scylla::DeserializeRow;
use tower_revoke_core::{Change, Changes, Cursor, KeyDigest, StoreError};

use crate::{
    buckets::{bucket_of, end_of},
    client::Deadline,
    cursor::{FeedCursor, Load, LogPosition, Pass, Position, ScanPosition},
    error::Failure,
    inner::{Inner, key_of},
    log::{Changed, Table},
    scan::ALL,
};

/// Entries of each log in one page, and the keys after which it ends, since they are looked up.
const ENTRIES: i32 = 64;
const MAX_KEYS: usize = 2_048;

/// The entry of a writer in the register.
#[derive(DeserializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
pub(crate) struct Registered {
    pub(crate) writer: i64,
    #[scylla(default_when_null)]
    pub(crate) retired: bool,
    #[scylla(default_when_null)]
    pub(crate) trimmed: i64,
    #[scylla(default_when_null)]
    trimmed_mark: i64,
    #[scylla(default_when_null)]
    bucket: i64,
    /// The time of the last heartbeat, and the time now, in milliseconds by the servers' clocks.
    #[scylla(default_when_null)]
    heartbeat: i64,
    now: i64,
}

impl Registered {
    pub(crate) fn silent_for(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now.saturating_sub(self.heartbeat)).unwrap_or(0))
    }

    /// The position before the first entry that is kept.
    fn start(&self) -> LogPosition {
        LogPosition::new(self.writer, self.trimmed, self.trimmed, self.trimmed_mark)
    }
}

impl Inner {
    pub(crate) async fn changes(&self, since: Option<&Cursor>) -> Result<Changes, StoreError> {
        let deadline = self.client.deadline();
        let mut cursor = match since {
            Some(since) => FeedCursor::read(since, &self.id)?,
            // Taken before the load: changes during it are read from here afterwards.
            None => FeedCursor {
                load: Some(Load::default()),
                logs: self.ends(deadline).await?,
            },
        };
        match cursor.load.take() {
            Some(load) => Ok(Changes {
                more: true,
                ..self.load(deadline, load, cursor.logs).await?
            }),
            None => self.follow(deadline, cursor.logs).await,
        }
    }

    /// Returns the cursor after the last change.
    pub(crate) async fn end(&self) -> Result<Cursor, StoreError> {
        let logs = self.ends(self.client.deadline()).await?;
        Ok(FeedCursor { load: None, logs }.write(&self.id))
    }

    /// Returns a page of what is listed.
    pub(crate) async fn listed(&self, after: Option<&Cursor>) -> Result<Changes, StoreError> {
        let after = after.map(|after| FeedCursor::read(after, &self.id));
        let load = after.transpose()?.and_then(|after| after.load);
        let deadline = self.client.deadline();
        self.load(deadline, load.unwrap_or_default(), Vec::new())
            .await
    }

    pub(crate) async fn register(
        &self,
        deadline: Deadline,
    ) -> Result<HashMap<i64, Registered>, Failure> {
        let writers = &self.statements.writers;
        let rows: Vec<Registered> = self.client.rows(deadline, writers, ()).await?;
        Ok(rows.into_iter().map(|row| (row.writer, row)).collect())
    }

    /// The last entry of a log, with its mark and what it says is done. `seen` is an entry that was
    /// the last one before.
    pub(crate) async fn newest(
        &self,
        deadline: Deadline,
        registered: &Registered,
        seen: i64,
    ) -> Result<(i64, i64, i64), StoreError> {
        let &Registered {
            writer, trimmed, ..
        } = registered;
        let mut newest = (trimmed, registered.trimmed_mark, trimmed);
        let first = registered.bucket.max(bucket_of(trimmed.max(seen)));
        for bucket in first.. {
            let values = (writer, bucket);
            let newest_of = &self.statements.newest;
            let found: Vec<(i64, i64, i64, bool)> =
                self.client.rows(deadline, newest_of, values).await?;
            match found.first() {
                Some((seq, mark, settled, closes)) if *seq > trimmed => {
                    newest = (*seq, *mark, (*settled).max(trimmed));
                    if !closes {
                        break;
                    }
                }
                // The bucket in which the log was trimmed may be gone.
                _ if bucket == bucket_of(trimmed) => {}
                // Its first entry is still to come.
                _ if bucket > first => break,
                // It was lost, unless the log was trimmed since the register was read.
                _ => match self.register(deadline).await?.get(&writer) {
                    Some(now) if now.trimmed == trimmed => break,
                    _ => return Err(StoreError::CursorTooOld),
                },
            }
        }
        Ok(newest)
    }

    /// Returns the ends of all logs.
    async fn ends(&self, deadline: Deadline) -> Result<Vec<LogPosition>, StoreError> {
        let register = self.register(deadline).await?;
        let alive = register.values().filter(|registered| !registered.retired);
        let ends = alive.map(async |registered| {
            let (last, mark, from) = self.newest(deadline, registered, 0).await?;
            Ok(LogPosition::new(registered.writer, from, last, mark))
        });
        match try_join_all(ends).await {
            // A log was trimmed meanwhile.
            Err(StoreError::CursorTooOld) => Box::pin(self.ends(deadline)).await,
            ends => ends,
        }
    }

    async fn follow(
        &self,
        deadline: Deadline,
        mut seen: Vec<LogPosition>,
    ) -> Result<Changes, StoreError> {
        let register = self.register(deadline).await?;
        for (writer, registered) in &register {
            let is_known = seen.iter().any(|place| place.writer == *writer);
            if !is_known && !registered.retired {
                seen.push(registered.start());
            }
        }
        let mut places = Vec::new();
        for place in seen {
            match register.get(&place.writer) {
                None => return Err(StoreError::HistoryWentBack),
                // All of its entries were read long ago.
                Some(registered) if registered.retired => {}
                Some(registered) => places.push((place, registered)),
            }
        }
        let read = places
            .into_iter()
            .map(|(place, registered)| self.advance(deadline, place, registered));
        let mut logs = Vec::new();
        let mut changed = BTreeSet::new();
        let mut more = false;
        for (place, keys, is_late) in try_join_all(read).await? {
            logs.push(place);
            changed.extend(keys);
            more |= is_late;
        }
        Ok(Changes {
            // The current state: at least as new as the entries that were read.
            changes: self.changes_of(deadline, changed).await?,
            next: FeedCursor { load: None, logs }.write(&self.id),
            more,
        })
    }

    /// Continues to read one log. Returns the keys, and whether there may be more.
    async fn advance(
        &self,
        deadline: Deadline,
        mut place: LogPosition,
        registered: &Registered,
    ) -> Result<(LogPosition, Vec<Changed>, bool), StoreError> {
        if place.from < registered.trimmed {
            return Err(StoreError::CursorTooOld);
        }
        let (pass, is_new) = match place.pass {
            Some(pass) => (pass, false),
            None => {
                let newest = self.newest(deadline, registered, place.last);
                let (goal, mark, settled) = newest.await?;
                let pass = Pass {
                    at: place.from,
                    goal,
                    mark,
                    settled,
                };
                (pass, true)
            }
        };
        self.still_there(deadline, &place, &pass, registered)
            .await?;
        let mut keys = Vec::new();
        let mut at = pass.at;
        if at < pass.goal {
            let bucket = bucket_of(at + 1);
            let end = end_of(bucket).min(pass.goal);
            let values = (place.writer, bucket, at, end, ENTRIES);
            let entries = &self.statements.entries;
            let rows: Vec<(i64, Option<Vec<u8>>)> =
                self.client.rows(deadline, entries, values).await?;
            at = end;
            for (read, (seq, bytes)) in (1..).zip(rows) {
                read_keys(&bytes.unwrap_or_default(), &mut keys)?;
                if read == ENTRIES || keys.len() >= MAX_KEYS {
                    at = seq;
                    break;
                }
            }
        }
        let is_over = at >= pass.goal;
        if is_over {
            let from = place.from.max(pass.settled);
            place = LogPosition::new(place.writer, from, pass.goal, pass.mark);
        } else {
            place.pass = Some(Pass { at, ..pass });
        }
        // Entries that were written since a longer pass began are in the next one.
        Ok((place, keys, !is_over || !is_new))
    }

    /// Checks that the log still has the last entry that was seen.
    async fn still_there(
        &self,
        deadline: Deadline,
        place: &LogPosition,
        pass: &Pass,
        registered: &Registered,
    ) -> Result<(), StoreError> {
        let seen = (place.last, place.mark);
        if seen == (pass.goal, pass.mark) || seen == (registered.trimmed, registered.trimmed_mark) {
            return Ok(());
        }
        let values = (place.writer, bucket_of(place.last), place.last);
        let rows: Vec<(i64,)> = self
            .client
            .rows(deadline, &self.statements.entry, values)
            .await?;
        if rows.first().is_some_and(|(mark,)| *mark == place.mark) {
            return Ok(());
        }
        // It may have been trimmed since the register was read.
        let register = self.register(deadline).await?;
        match register.get(&place.writer) {
            Some(now) if rows.is_empty() && now.trimmed >= place.last && place.last > 0 => {
                Err(StoreError::CursorTooOld)
            }
            _ => Err(StoreError::HistoryWentBack),
        }
    }

    /// Returns the current state of the keys.
    async fn changes_of(
        &self,
        deadline: Deadline,
        changed: BTreeSet<Changed>,
    ) -> Result<Vec<Change>, Failure> {
        let of = |table: Table| {
            let keys = changed.iter().filter(move |(of, _)| *of == table);
            keys.map(|(_, key)| *key).collect::<Vec<_>>()
        };
        let (revoked, used) = (of(Table::Revoked), of(Table::Uses));
        let (revoked, used) = tokio::try_join!(
            self.revoked(deadline, &revoked),
            self.uses_of(deadline, &used)
        )?;
        let mut changes = Vec::new();
        for (key, state) in revoked {
            state.tell(key, &mut changes);
        }
        for (key, used_up) in used {
            changes.push(match used_up {
                Some(until) => Change::UsedUp { key, until },
                None => Change::Returned { key },
            });
        }
        Ok(changes)
    }

    /// Reads a page of everything that is alive. The last page of revocations and the first of uses
    /// come as one.
    async fn load(
        &self,
        deadline: Deadline,
        mut load: Load,
        logs: Vec<LogPosition>,
    ) -> Result<Changes, StoreError> {
        let mut changes = Vec::new();
        let mut next = None;
        if load.table == Table::Revoked {
            let (page, position) = self.scan_revoked(deadline, &ALL, &load.position).await?;
            for (key, state) in page {
                state.tell(key, &mut changes);
            }
            changes.retain(|told| matches!(told, Change::Listed { .. }));
            next = position;
        }
        if next.is_none() {
            if load.table == Table::Revoked {
                load = Load {
                    table: Table::Uses,
                    position: ScanPosition::default(),
                };
            }
            let (page, position) = self.scan_uses(deadline, &ALL, &load.position).await?;
            for row in page {
                if let Some(until) = row.used_up() {
                    let key = key_of(&row.digest)?;
                    changes.push(Change::UsedUp { key, until });
                }
            }
            next = position;
        }
        let load = next.map(|position| Load { position, ..load });
        Ok(Changes {
            changes,
            more: load.is_some(),
            next: FeedCursor { load, logs }.write(&self.id),
        })
    }
}

fn read_keys(bytes: &[u8], keys: &mut Vec<Changed>) -> Result<(), Failure> {
    let entries = bytes.chunks_exact(17);
    if !entries.remainder().is_empty() {
        return Err(Failure::Malformed("an entry of a log"));
    }
    for entry in entries {
        let table = match entry[0] {
            0 => Table::Revoked,
            _ => Table::Uses,
        };
        let key = entry[1..].try_into();
        let key: [u8; 16] = key.map_err(|_| Failure::Malformed("an entry of a log"))?;
        keys.push((table, KeyDigest::from_bytes(key)));
    }
    Ok(())
}
