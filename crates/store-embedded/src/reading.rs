//! Reads, each from one snapshot of the tree: look-ups, the feed, a full load, and records.

use fjall::{Readable, Snapshot};
use tower_revoke_core::{
    Change, Changes, Cursor, KeyDigest, LiftRecord, Listed, RecordFilter, RecordPage, StoreError,
    internal::merge,
};

use crate::{
    cursor::{self, FeedCursor, Load},
    fault::Fault,
    rows::{GROUP, GroupHead, HELD, Row, STATE, USES, group_key, group_of, read, row_key, split},
    shared::{Open, Shared},
};

/// The maximum number of rows or changes that one page reads. A group is not split.
const PAGE: usize = 4_096;

pub(crate) fn look_up(open: &Open, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, Fault> {
    let snapshot = open.database.snapshot();
    let listed = |kind, key: &KeyDigest| -> Result<_, Fault> {
        let row = snapshot.get(&open.rows, row_key(kind, key.as_bytes()))?;
        let row: Option<Row> = row.map(|row| read(&row)).transpose()?;
        Ok(row.and_then(|row| row.listed()))
    };
    let listed = |key| Ok(merge::listed(listed(STATE, key)?, listed(USES, key)?));
    keys.iter().map(listed).collect()
}

/// Returns the next page of the feed or of a full load.
pub(crate) fn changes(
    shared: &Shared,
    open: &Open,
    since: Option<FeedCursor>,
) -> Result<Changes, StoreError> {
    let snapshot = open.database.snapshot();
    let (last, head) = last_group(open, &snapshot)?;
    let mut next = since.unwrap_or(FeedCursor {
        group: last,
        opening: head.opening,
        load: Some(None),
    });
    let row = snapshot.get(&open.rows, group_key(next.group, 0));
    match row.map_err(Fault::from)? {
        Some(row) if GroupHead::read(&row)?.0.opening == next.opening => {}
        None if next.group <= last => return Err(StoreError::CursorTooOld),
        _ => return Err(StoreError::HistoryWentBack),
    }
    let changes = match next.load {
        Some(after) => {
            let (changes, last) = load_page(open, &snapshot, after)?;
            next.load = last.map(Some);
            changes
        }
        None => feed_page(open, &snapshot, &mut next)?,
    };
    Ok(Changes {
        changes,
        more: next.load.is_some() || next.group < last,
        next: cursor::write(cursor::FEED, shared.folder.store, &next),
    })
}

/// Returns the cursor after the last change.
pub(crate) fn end(shared: &Shared, open: &Open) -> Result<Cursor, Fault> {
    let (group, head) = last_group(open, &open.database.snapshot())?;
    let end = FeedCursor {
        group,
        opening: head.opening,
        load: None,
    };
    Ok(cursor::write(cursor::FEED, shared.folder.store, &end))
}

/// Returns the next page of what is listed, wherever the feed is.
pub(crate) fn listed(shared: &Shared, open: &Open, after: Load) -> Result<Changes, Fault> {
    let (changes, last) = load_page(open, &open.database.snapshot(), after)?;
    Ok(Changes {
        changes,
        more: last.is_some(),
        next: cursor::write(cursor::LISTED, shared.folder.store, &last),
    })
}

/// Returns the rows after a key, and the last key if there may be more.
fn load_page(open: &Open, snapshot: &Snapshot, after: Load) -> Result<(Vec<Change>, Load), Fault> {
    let mut changes = Vec::new();
    let start = after.map_or(vec![STATE], |after| [&after[..], &[0]].concat());
    for (count, row) in (1..).zip(snapshot.range(&open.rows, start..vec![HELD])) {
        let (key, row) = row.into_inner()?;
        let (key, digest) = split(&key)?;
        changes.extend(read::<Row>(&row)?.change(digest));
        if count == PAGE {
            return Ok((changes, Some(key)));
        }
    }
    Ok((changes, None))
}

fn feed_page(
    open: &Open,
    snapshot: &Snapshot,
    next: &mut FeedCursor,
) -> Result<Vec<Change>, Fault> {
    let mut changes = Vec::new();
    let after = group_key(next.group + 1, 0);
    for row in snapshot.range(&open.rows, after..vec![GROUP + 1]) {
        let (key, row) = row.into_inner()?;
        match group_of(&key)? {
            (_, 0) if changes.len() >= PAGE => break,
            (group, 0) => {
                let (head, events) = GroupHead::read(&row)?;
                (next.group, next.opening) = (group, head.opening);
                changes.extend(events);
            }
            _ => changes.extend(read::<Vec<Change>>(&row)?),
        }
    }
    Ok(changes)
}

fn last_group(open: &Open, snapshot: &Snapshot) -> Result<(u64, GroupHead), Fault> {
    let missing = || Fault::damaged("there is no group");
    let last = snapshot.prefix(&open.rows, [GROUP]).next_back();
    let (group, _) = group_of(&last.ok_or_else(missing)?.key()?)?;
    let row = snapshot.get(&open.rows, group_key(group, 0))?;
    let (head, _) = GroupHead::read(&row.ok_or_else(missing)?)?;
    Ok((group, head))
}

pub(crate) fn last_lift(open: &Open, key: KeyDigest) -> Result<Option<LiftRecord>, Fault> {
    let row = open.rows.get(row_key(STATE, key.as_bytes()))?;
    let row: Option<Row> = row.map(|row| read(&row)).transpose()?;
    Ok(row.and_then(|row| row.state.lifted).map(Into::into))
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
    let (mut page, mut last) = (RecordPage::default(), after);
    let after = after.map(|after| [&row_key(STATE, &after)[..], &[0]].concat());
    let (mut start, mut end) = (after.unwrap_or(vec![STATE]), vec![USES]);
    if let Some(key) = wanted.only_key() {
        let key = row_key(STATE, key.as_bytes());
        end = [&key[..], &[0]].concat();
        start = start.max(key.to_vec()).min(end.clone());
    }
    for (count, row) in snapshot.range(&open.rows, start..end).enumerate() {
        if count == PAGE {
            return Ok((page, last));
        }
        let (key, row) = row.into_inner()?;
        let (_, digest) = split(&key)?;
        let record = read::<Row>(&row)?.record(digest);
        if let Some(record) = record.filter(|record| wanted.wants(record)) {
            if page.records.len() == at_most {
                // One more record matches, so the page is full and not the last.
                let (store, last) = (shared.folder.store, last.unwrap_or_default());
                page.next = Some(cursor::write(cursor::RECORDS, store, &last));
                return Ok((page, None));
            }
            page.records.push(record);
        }
        last = Some(*digest.as_bytes());
    }
    Ok((page, None))
}
