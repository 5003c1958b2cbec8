//! The feed: follows the logs of all writers, and loads everything in force page by page.

use std::collections::{BTreeSet, HashMap};

use futures_util::future::try_join_all;
use tower_revoke_core::{Change, Changes, Cursor, KeyDigest, StoreError};

use crate::{
    client::Deadline,
    cursor::{FeedCursor, Load, LogPosition, Pass, ScanPosition},
    error::Failure,
    inner::{Inner, key_of},
    log::{Changed, Table, bucket_of, end_of},
    rows,
    scan::ALL,
};

/// Entries of each log in one page.
const ENTRIES: i32 = 64;

/// The entry of a writer in the register.
pub(crate) struct Registered {
    pub(crate) retired: bool,
    pub(crate) trimmed: i64,
    trimmed_mark: i64,
    bucket: i64,
    /// For how many milliseconds the writer has been silent, by the servers' clocks.
    pub(crate) silent_for: i64,
}

impl Inner {
    pub(crate) async fn changes(&self, since: Option<&Cursor>) -> Result<Changes, StoreError> {
        let deadline = self.client.deadline();
        let mut cursor = match since {
            Some(since) => FeedCursor::read(since, self.id)?,
            // Taken before the load: changes during it are read from here afterwards.
            None => FeedCursor {
                store: self.id,
                load: Some(Load::default()),
                logs: self.ends(deadline).await?,
            },
        };
        let Some(load) = cursor.load.take() else {
            return self.follow(deadline, cursor).await;
        };
        let (changes, load) = self.load(deadline, load).await?;
        Ok(Changes {
            changes,
            next: FeedCursor { load, ..cursor }.write(),
            more: true,
        })
    }

    /// Returns a page of what is listed.
    pub(crate) async fn listed(&self, after: Option<&Cursor>) -> Result<Changes, StoreError> {
        let after = after.map(|after| FeedCursor::read(after, self.id));
        let load = after.transpose()?.and_then(|after| after.load);
        let deadline = self.client.deadline();
        let (changes, load) = self.load(deadline, load.unwrap_or_default()).await?;
        let more = load.is_some();
        let next = FeedCursor {
            store: self.id,
            load,
            logs: Vec::new(),
        };
        Ok(Changes {
            changes,
            next: next.write(),
            more,
        })
    }

    /// Returns the cursor after the last change.
    pub(crate) async fn end(&self) -> Result<Cursor, StoreError> {
        let end = FeedCursor {
            store: self.id,
            load: None,
            logs: self.ends(self.client.deadline()).await?,
        };
        Ok(end.write())
    }

    pub(crate) async fn register(
        &self,
        deadline: Deadline,
    ) -> Result<HashMap<i64, Registered>, Failure> {
        type Row = (
            i64,
            Option<bool>,
            Option<i64>,
            Option<i64>,
            Option<i64>,
            Option<i64>,
            i64,
        );
        let rows: Vec<Row> = self
            .client
            .rows(deadline, &self.statements.writers, ())
            .await?;
        let registered = rows.into_iter();
        let registered =
            registered.map(|(writer, retired, trimmed, mark, bucket, heartbeat, now)| {
                let registered = Registered {
                    retired: retired == Some(true),
                    trimmed: trimmed.unwrap_or(0),
                    trimmed_mark: mark.unwrap_or(0),
                    bucket: bucket.unwrap_or(0),
                    silent_for: now.saturating_sub(heartbeat.unwrap_or(0)),
                };
                (writer, registered)
            });
        Ok(registered.collect())
    }

    /// The last entry of a log, with its mark and what it says is done. `seen` is an entry that was
    /// the last one before.
    pub(crate) async fn newest(
        &self,
        deadline: Deadline,
        writer: i64,
        registered: &Registered,
        seen: i64,
    ) -> Result<(i64, i64, i64), StoreError> {
        let trimmed = registered.trimmed;
        let mut newest = (trimmed, registered.trimmed_mark, trimmed);
        let first = registered.bucket.max(bucket_of(trimmed.max(seen)));
        for bucket in first.. {
            let found: Vec<(i64, i64, i64, bool)> = self
                .client
                .rows(deadline, &self.statements.newest, (writer, bucket))
                .await?;
            let closes = match found.first() {
                Some((seq, mark, settled, closes)) if *seq > trimmed => {
                    newest = (*seq, *mark, (*settled).max(trimmed));
                    *closes
                }
                // The bucket in which the log was trimmed may be gone.
                _ if bucket == bucket_of(trimmed) => true,
                // Its first entry is still to come, or was lost.
                _ if bucket > first
                    || !self.is_trimmed_since(deadline, writer, trimmed).await? =>
                {
                    false
                }
                _ => return Err(StoreError::CursorTooOld),
            };
            if !closes {
                break;
            }
        }
        Ok(newest)
    }

    async fn is_trimmed_since(
        &self,
        deadline: Deadline,
        writer: i64,
        trimmed: i64,
    ) -> Result<bool, Failure> {
        let register = self.register(deadline).await?;
        Ok(register
            .get(&writer)
            .is_none_or(|now| now.trimmed > trimmed))
    }

    /// Returns the ends of all logs.
    async fn ends(&self, deadline: Deadline) -> Result<Vec<LogPosition>, StoreError> {
        loop {
            match self
                .ends_of(deadline, &self.register(deadline).await?)
                .await
            {
                // A log was trimmed meanwhile.
                Err(StoreError::CursorTooOld) => {}
                ends => return ends,
            }
        }
    }

    async fn ends_of(
        &self,
        deadline: Deadline,
        register: &HashMap<i64, Registered>,
    ) -> Result<Vec<LogPosition>, StoreError> {
        let alive = register
            .iter()
            .filter(|(_, registered)| !registered.retired);
        try_join_all(alive.map(|(writer, registered)| async move {
            let (last, mark, from) = self.newest(deadline, *writer, registered, 0).await?;
            Ok(LogPosition {
                writer: *writer,
                from,
                last,
                mark,
                pass: None,
            })
        }))
        .await
    }

    async fn follow(
        &self,
        deadline: Deadline,
        mut cursor: FeedCursor,
    ) -> Result<Changes, StoreError> {
        let register = self.register(deadline).await?;
        for (writer, registered) in &register {
            let is_known = cursor.logs.iter().any(|place| place.writer == *writer);
            if !is_known && !registered.retired {
                cursor.logs.push(LogPosition {
                    writer: *writer,
                    from: registered.trimmed,
                    last: registered.trimmed,
                    mark: registered.trimmed_mark,
                    pass: None,
                });
            }
        }
        let mut places = Vec::new();
        for place in std::mem::take(&mut cursor.logs) {
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
            next: FeedCursor { logs, ..cursor }.write(),
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
                let newest = self.newest(deadline, place.writer, registered, place.last);
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
            at = match rows.last() {
                Some((last, _)) if rows.len() >= usize::try_from(ENTRIES).unwrap_or(0) => *last,
                _ => end,
            };
            for (_, bytes) in rows {
                read_keys(&bytes.unwrap_or_default(), &mut keys)?;
            }
        }
        let is_over = at >= pass.goal;
        if is_over {
            place = LogPosition {
                writer: place.writer,
                from: place.from.max(pass.settled),
                last: pass.goal,
                mark: pass.mark,
                pass: None,
            };
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
        for (key, spent) in used {
            changes.push(match spent {
                Some(listed) => Change::UsedUp {
                    key,
                    until: listed.until(),
                },
                None => Change::Returned { key },
            });
        }
        Ok(changes)
    }

    /// Reads a page of everything that is alive, and where the next one begins. The last page of
    /// revocations and the first of uses come as one.
    async fn load(
        &self,
        deadline: Deadline,
        mut load: Load,
    ) -> Result<(Vec<Change>, Option<Load>), StoreError> {
        let mut changes = Vec::new();
        if load.table == Table::Revoked {
            let (page, next) = self.scan_revoked(deadline, &ALL, &load.position).await?;
            for (key, state) in page {
                state.tell(key, &mut changes);
            }
            changes.retain(|told| matches!(told, Change::Listed { .. }));
            if let Some(position) = next {
                return Ok((changes, Some(Load { position, ..load })));
            }
            load = Load {
                table: Table::Uses,
                position: ScanPosition::default(),
            };
        }
        let (page, next) = self.scan_uses(deadline, &ALL, &load.position).await?;
        for row in page {
            if let Some(listed) = rows::spent(row.max_uses, row.held, row.until) {
                changes.push(Change::UsedUp {
                    key: key_of(&row.digest)?,
                    until: listed.until(),
                });
            }
        }
        let next = next.map(|position| Load { position, ..load });
        Ok((changes, next))
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
