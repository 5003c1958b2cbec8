//! Reads, each from one snapshot of the tree: look-ups, the feed, a full load, and records.

use fjall::{Readable, Snapshot};
use tower_revoke_core::{Changes, KeyDigest, Listed, RecordFilter, RecordPage, StoreError};

use crate::{
    cursor::{FeedCursor, Load, RecordsCursor},
    fault::Fault,
    rows::{
        Event, GROUP, GroupHead, HELD, Row, STATE, USES, group_key, group_of, read, row_key, split,
    },
    shared::{Open, Shared},
};

/// The maximum number of rows or changes that one page reads. A group is not split.
const PAGE: usize = 4_096;

pub(crate) fn look_up(open: &Open, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, Fault> {
    let snapshot = open.database.snapshot();
    let listed = |kind, key: &KeyDigest| -> Result<_, Fault> {
        let row = snapshot.get(&open.rows, row_key(kind, key.as_bytes()))?;
        let row = row.map(|row| Row::read(&row)).transpose()?;
        Ok(row.and_then(|row| row.listed()))
    };
    // A revocation takes precedence over spent uses.
    let listed = |key| match listed(STATE, key)? {
        None => listed(USES, key),
        revoked => Ok(revoked),
    };
    keys.iter().map(listed).collect()
}

/// Returns the next page of the feed or of a full load.
pub(crate) fn changes(
    shared: &Shared,
    open: &Open,
    since: Option<FeedCursor>,
) -> Result<Changes, StoreError> {
    let store = shared.folder.store;
    let snapshot = open.database.snapshot();
    let mut cursor = match since {
        None => {
            let (group, head) = last_group(open, &snapshot)?;
            FeedCursor {
                store,
                group,
                opening: head.opening,
                load: Some(None),
            }
        }
        Some(cursor) if cursor.store != store => return Err(StoreError::ForeignCursor),
        Some(cursor) => {
            check_history(open, &snapshot, &cursor)?;
            cursor
        }
    };
    let mut changes = Vec::new();
    let mut more = false;
    if let Some(after) = cursor.load {
        cursor.load = None;
        for (count, row) in rows_after(open, &snapshot, after, HELD).enumerate() {
            let (key, row) = row.into_inner().map_err(Fault::from)?;
            let (key, digest) = split(&key)?;
            changes.extend(Row::read(&row)?.change(digest));
            if count + 1 == PAGE {
                cursor.load = Some(Some(key));
                break;
            }
        }
        // The feed follows.
        more = cursor.load.is_some() || last_group(open, &snapshot)?.0 > cursor.group;
    } else {
        let after = group_key(cursor.group + 1, 0);
        for row in snapshot.range(&open.rows, after..vec![GROUP + 1]) {
            let (key, row) = row.into_inner().map_err(Fault::from)?;
            let (group, part) = group_of(&key)?;
            let events: Vec<Event> = if part == 0 {
                if changes.len() >= PAGE {
                    more = true;
                    break;
                }
                let (head, events) = GroupHead::read(&row)?;
                (cursor.group, cursor.opening) = (group, head.opening);
                events
            } else {
                read(&row)?
            };
            changes.extend(events.iter().map(Event::change));
        }
    }
    Ok(Changes {
        changes,
        next: cursor.write(),
        more,
    })
}

fn last_group(open: &Open, snapshot: &Snapshot) -> Result<(u64, GroupHead), Fault> {
    let missing = || Fault::Damaged("there is no group".to_owned());
    let last = snapshot.prefix(&open.rows, [GROUP]).next_back();
    let (group, _) = group_of(&last.ok_or_else(missing)?.key()?)?;
    let row = snapshot.get(&open.rows, group_key(group, 0))?;
    let (head, _) = GroupHead::read(&row.ok_or_else(missing)?)?;
    Ok((group, head))
}

/// Checks that the tree still has the history that the cursor has seen.
fn check_history(open: &Open, snapshot: &Snapshot, cursor: &FeedCursor) -> Result<(), StoreError> {
    let row = snapshot.get(&open.rows, group_key(cursor.group, 0));
    match row.map_err(Fault::from)? {
        Some(row) if GroupHead::read(&row)?.0.opening == cursor.opening => Ok(()),
        Some(_) => Err(StoreError::HistoryWentBack),
        None if last_group(open, snapshot)?.0 < cursor.group => Err(StoreError::HistoryWentBack),
        None => Err(StoreError::CursorTooOld),
    }
}

/// Returns the rows after a key, up to a kind.
fn rows_after(open: &Open, snapshot: &Snapshot, after: Load, up_to: u8) -> fjall::Iter {
    let start = after.map_or(vec![STATE], |after| [&after[..], &[0]].concat());
    snapshot.range(&open.rows, start..vec![up_to])
}

/// Returns records, and the digest after which to continue if the row limit of a page was reached.
pub(crate) fn records(
    shared: &Shared,
    open: &Open,
    wanted: &RecordFilter,
    after: Option<[u8; 16]>,
    at_most: usize,
) -> Result<(RecordPage, Option<[u8; 16]>), Fault> {
    let snapshot = open.database.snapshot();
    let mut page = RecordPage::default();
    if let Some(key) = wanted.only_key() {
        let is_before = after.is_some_and(|after| *key.as_bytes() <= after);
        let row = snapshot.get(&open.rows, row_key(STATE, key.as_bytes()))?;
        if let Some(row) = row.filter(|_| !is_before) {
            let record = Row::read(&row)?.record(*key);
            page.records
                .extend(record.filter(|record| wanted.wants(record)));
        }
        return Ok((page, None));
    }
    let mut last = after;
    let after = after.map(|after| row_key(STATE, &after));
    for (count, row) in rows_after(open, &snapshot, after, USES).enumerate() {
        if count == PAGE {
            return Ok((page, last));
        }
        let (key, row) = row.into_inner()?;
        let (_, digest) = split(&key)?;
        let record = Row::read(&row)?.record(digest);
        if let Some(record) = record.filter(|record| wanted.wants(record)) {
            if page.records.len() == at_most {
                // One more record matches, so the page is full and not the last.
                let (store, last) = (shared.folder.store, last.unwrap_or_default());
                page.next = Some(RecordsCursor { store, last }.write());
                return Ok((page, None));
            }
            page.records.push(record);
        }
        last = Some(*digest.as_bytes());
    }
    Ok((page, None))
}
