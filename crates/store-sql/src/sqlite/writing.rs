//! Transactions, and the removal of old events and of expired rows.

use sqlx::{Row, Sqlite, SqliteConnection, query::Query, sqlite::SqliteArguments};
use tower_revoke_core::UnixTime;

use crate::{backend::Trim, batch::Link, error::Failure, value::secs};

/// The number of pages that are returned to the file system at once. None are until at least so
/// many are free, and a quarter of the file, since free pages are reused for later writes.
const PAGES: i64 = 1_024;

/// Begins a transaction that holds the lock of writers from the start.
pub(super) async fn begin(link: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    link.ask("BEGIN IMMEDIATE").await.map(drop)
}

/// Commits the transaction, which flushes it to disk, or rolls it back after an error.
pub(super) async fn end<T, E: From<sqlx::Error>>(
    link: &mut SqliteConnection,
    done: Result<T, E>,
) -> Result<T, E> {
    let done = match done {
        Ok(done) => match sqlx::query("COMMIT").execute(&mut *link).await {
            Ok(_) => return Ok(done),
            Err(error) => E::from(error),
        },
        Err(error) => error,
    };
    // Fails if SQLite has rolled back by itself.
    let _ = sqlx::query("ROLLBACK").execute(link).await;
    Err(done)
}

pub(super) async fn trim(link: &mut SqliteConnection, trim: Trim) -> Result<(), Failure> {
    begin(link).await?;
    let done = trim_in_turn(link, trim).await;
    end(link, done).await
}

async fn trim_in_turn(link: &mut SqliteConnection, trim: Trim) -> Result<(), Failure> {
    let row = sqlx::query(
        "SELECT seq, trimmed, (SELECT min(seq) FROM events \
         WHERE seq <= trimmed + ?1 AND written >= unixepoch() - ?2) FROM store",
    )
    .bind(trim.at_once)
    .bind(trim.retention)
    .fetch_one(&mut *link)
    .await?;
    let Some(cut) = trim.cut(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?) else {
        return Ok(());
    };
    // Only whole rows are removed, so the cut moves back to the last event of one.
    let cut = sqlx::query(
        "UPDATE store SET trimmed = last.seq, trimmed_mark = last.mark FROM \
         (SELECT seq, mark FROM events WHERE seq <= ?1 ORDER BY seq DESC LIMIT 1) last; \
         DELETE FROM events WHERE seq <= ?1",
    )
    .bind(cut);
    cut.execute(link).await?;
    Ok(())
}

/// Removes some expired rows. Once none are left, returns free pages to the file system instead,
/// some with each call. Returns the number of entries removed, and whether there may be more to do.
pub(super) async fn purge(
    link: &mut SqliteConnection,
    before: UnixTime,
    at_once: i64,
) -> Result<(u64, bool), Failure> {
    begin(link).await?;
    let done = purge_in_turn(link, secs(before), at_once).await;
    let (dropped, has_more) = end(link, done).await?;
    if has_more {
        return Ok((dropped, true));
    }
    begin(link).await?;
    let done = vacuum_some(link).await;
    let has_more = end(link, done).await?;
    if !has_more {
        // The file shrinks only when a checkpoint copies the log into it. PASSIVE doesn't wait for
        // those who still read the log; a later checkpoint then completes it.
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)");
        checkpoint.execute(link).await?;
    }
    Ok((dropped, has_more))
}

async fn purge_in_turn(
    link: &mut SqliteConnection,
    before: i64,
    at_once: i64,
) -> Result<(u64, bool), Failure> {
    let due = |statement| -> Query<'static, Sqlite, SqliteArguments<'static>> {
        sqlx::query(statement).bind(before).bind(at_once)
    };
    // Recorded by every purge: a use that expired before this time is rejected, since its token may
    // have been purged.
    sqlx::query(
        "UPDATE store SET purged_before = ?1 WHERE purged_before IS NULL OR purged_before < ?1",
    )
    .bind(before)
    .execute(&mut *link)
    .await?;
    let revoked = due("DELETE FROM revoked WHERE digest IN \
        (SELECT digest FROM revoked WHERE until < ?1 LIMIT ?2)");
    let revoked = revoked.execute(&mut *link).await?.rows_affected();
    let lifted = due("DELETE FROM lifted WHERE digest IN \
        (SELECT digest FROM lifted WHERE until < ?1 LIMIT ?2)");
    let lifted = lifted.execute(&mut *link).await?.rows_affected();
    let weight = due("SELECT coalesce(sum(max(held, 1)), 0) FROM \
        (SELECT held FROM uses WHERE until < ?1 ORDER BY until, token LIMIT ?2)");
    let weight: i64 = weight.fetch_one(&mut *link).await?.try_get(0)?;
    let held = due("DELETE FROM held WHERE token IN \
        (SELECT token FROM uses WHERE until < ?1 ORDER BY until, token LIMIT ?2)");
    held.execute(&mut *link).await?;
    let uses = due("DELETE FROM uses WHERE token IN \
        (SELECT token FROM uses WHERE until < ?1 ORDER BY until, token LIMIT ?2)");
    let uses = uses.execute(&mut *link).await?.rows_affected();
    let issued = due("DELETE FROM issued_tokens WHERE hash IN \
        (SELECT hash FROM issued_tokens WHERE until < ?1 LIMIT ?2)");
    let issued = issued.execute(link).await?.rows_affected();
    let dropped = revoked.saturating_add(u64::try_from(weight).unwrap_or(0));
    let dropped = dropped.saturating_add(issued);
    let is_full = |rows: u64| i64::try_from(rows).is_ok_and(|rows| rows == at_once);
    Ok((
        dropped,
        [revoked, lifted, uses, issued].into_iter().any(is_full),
    ))
}

/// Returns some free pages to the file system. Returns whether there may be more.
async fn vacuum_some(link: &mut SqliteConnection) -> Result<bool, Failure> {
    let free = free_pages(link).await?;
    if free == 0 {
        return Ok(false);
    }
    let statement = format!("PRAGMA incremental_vacuum({PAGES})");
    sqlx::query(&statement).execute(&mut *link).await?;
    // None are returned if the file was rewritten without `auto_vacuum`.
    Ok(free_pages(link).await? < free)
}

/// Returns the number of free pages, or 0 if they are too few to be returned.
async fn free_pages(link: &mut SqliteConnection) -> Result<i64, Failure> {
    let row = sqlx::query(
        "SELECT freelist_count, page_count FROM pragma_freelist_count, pragma_page_count",
    )
    .fetch_one(link)
    .await?;
    let (free, all): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let is_worth_it = free >= PAGES && free >= all / 4;
    Ok(if is_worth_it { free } else { 0 })
}
