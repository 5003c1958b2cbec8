//! Tests that apply to every SQL store, whatever its tables are called.

use std::time::Duration;

use futures_util::future::join_all;
use tower_revoke::{
    MirrorState, RevocationList,
    core::{Clock, Revocation, Store, StoreError, UnixTime, UseOutcome},
};
use tower_revoke_store_sql::SqlStoreError;
use tower_revoke_testing::{Behavior, ScriptedStore, StoreOp};

use crate::{
    feed::whole_feed,
    load::{new_use, now, revocation},
    servers::wait_until,
};

/// Checks that the store doesn't open without its tables, that all nodes may create them at the
/// same time, and that newer tables are rejected. The argument of `connect` is whether it migrates.
pub async fn tables_are_created_once<S: Store>(
    connect: impl AsyncFn(bool) -> Result<S, SqlStoreError>,
    migrate: impl AsyncFn() -> Result<(), SqlStoreError>,
    make_version_7: impl FnOnce(),
) {
    let missing = connect(false).await.err();
    let is_missing = matches!(
        missing,
        Some(SqlStoreError::Older {
            found: 0,
            known: 1,
            ..
        })
    );
    assert!(is_missing, "{missing:?}");
    // All nodes start at the same time.
    for migrated in join_all((0..8).map(|_| migrate())).await {
        migrated.expect("a migration");
    }
    let store = connect(false).await.expect("existing tables");
    store.revoke(&[revocation(1)]).await.expect("a revocation");
    make_version_7();
    for migrates in [false, true] {
        let newer = connect(migrates).await.err().expect("they are newer");
        let words = newer.to_string();
        assert!(words.contains("version 7") && words.contains("knows 1"));
    }
    let newer = migrate().await;
    assert!(matches!(newer, Err(SqlStoreError::Newer { found: 7, .. })));
}

/// Checks that the feed of a store that keeps 100 changes forgets older ones. `events` counts the
/// rows of the feed.
pub async fn feed_forgets_while_it_grows(store: &impl Store, events: impl FnOnce() -> String) {
    let begun = store
        .feed()
        .expect("a feed")
        .changes(None)
        .await
        .expect("a page")
        .next;
    for batch in 0..10 {
        revoke_thousand(store, batch).await;
    }
    // Trimming is asynchronous and lags by up to one batch.
    store.revoke(&[revocation(0)]).await.expect("a revocation");
    let kept: u64 = events().parse().expect("a number");
    assert!((100..4_000).contains(&kept), "{kept} of 10,000");
    let answer = store.feed().expect("a feed").changes(Some(&begun)).await;
    assert!(
        matches!(answer, Err(StoreError::CursorTooOld)),
        "{answer:?}"
    );
}

/// Checks that tokens that are spent in one batch share a row of the feed, which is trimmed as a
/// whole. The store keeps 100 changes. `events` counts the rows of the feed and the changes in them,
/// and returns 1 if the oldest row follows the last change that was trimmed.
pub async fn uses_spent_together_share_a_row(store: &impl Store, events: impl Fn() -> String) {
    let events = || -> Vec<u64> {
        let events = events();
        let numbers = events.split('|').map(|number| number.parse());
        numbers.collect::<Result<_, _>>().expect("numbers")
    };
    let feed = store.feed().expect("a feed");
    let begun = whole_feed(store).await.next;
    let spend = async |numbers: std::ops::Range<u64>| {
        let uses: Vec<_> = numbers.map(|number| new_use(number, 1, 1)).collect();
        let taken = uses.iter().map(|one| store.take_use(one, now()));
        for won in join_all(taken).await {
            assert_eq!(won.expect("a use"), UseOutcome::Taken { left: 0 });
        }
    };
    spend(0..900).await;
    let rows = events()[0];
    assert!((1..450).contains(&rows), "{rows} for 900");
    let page = feed.changes(Some(&begun)).await.expect("a page");
    assert_eq!((page.changes.len(), page.more), (900, false));
    for round in 1..5 {
        spend(round * 900..(round + 1) * 900).await;
    }
    let events = events();
    assert!((100..3_000).contains(&events[1]), "{events:?} of 4,500");
    assert_eq!(events[2], 1, "rows are trimmed as a whole");
    let answer = feed.changes(Some(&begun)).await;
    assert!(
        matches!(answer, Err(StoreError::CursorTooOld)),
        "{answer:?}"
    );
}

/// Checks that a list loads everything from a store that keeps 1,000 changes, while a writer makes
/// 300 of them for each page that is read.
pub async fn a_load_ends_while_more_is_written_than_is_kept<S: Store + Clone + 'static>(store: S) {
    const LISTED: u64 = 40_000;
    const AT_ONCE: u64 = 300;
    // An end, since a load that starts over with each page would have none.
    const PAGES: u64 = 40;
    for batch in 0..LISTED / 1_000 {
        revoke_thousand(&store, batch).await;
    }
    let (read, script) = ScriptedStore::over(store.clone());
    // Leaves the writer time between two pages.
    script.set(StoreOp::Changes, Behavior::Slow(Duration::from_millis(30)));
    let list = RevocationList::builder(read)
        .build()
        .expect("valid settings");
    let writer = tokio::spawn(async move {
        let mut pages = 0;
        for batch in 0..PAGES {
            // One that begins after the last batch, or a writer that was held up would write several.
            script.called(StoreOp::Changes, pages + 1).await;
            let first = LISTED + batch * AT_ONCE;
            let some: Vec<_> = (first..first + AT_ONCE).map(revocation).collect();
            store.revoke(&some).await.expect("revocations");
            pages = script.calls(StoreOp::Changes);
        }
    });
    while list.ready().await.is_err() {}
    writer.await.expect("no panic");
    let all = LISTED + PAGES * AT_ONCE;
    wait_until("all is mirrored", || list.stats().mirrored == all).await;
    let stats = list.stats();
    assert_eq!((stats.mirror, stats.mirror_reloads), (MirrorState::Live, 0));
}

/// Checks that a store with a retention of one minute trims an older change, by the clock of the
/// database. `age` runs SQL that makes the events of the feed this many seconds older.
/// `first_and_last` reads the numbers of the feed's first and last row.
pub async fn old_changes_go(
    store: &impl Store,
    age: impl FnOnce(u32),
    first_and_last: impl FnOnce() -> String,
) {
    store.revoke(&[revocation(0)]).await.expect("a revocation");
    age(61);
    for batch in 1..4 {
        revoke_thousand(store, batch).await;
    }
    assert_eq!(first_and_last(), "2|3001");
}

/// Checks that concurrent revocations of many keys share transactions, with at most about a
/// thousand keys each. `largest` reads the largest number of events with one mark.
pub async fn transactions_are_bounded(
    store: &(impl Store + Clone + 'static),
    largest: impl FnOnce() -> String,
) {
    let all = (0..10).map(|batch| {
        let store = store.clone();
        tokio::spawn(async move { revoke_thousand(&store, batch).await })
    });
    for one in join_all(all).await {
        one.expect("no panic");
    }
    let largest: u64 = largest().parse().expect("a number");
    assert!((1..=1_024).contains(&largest), "{largest} in a transaction");
}

async fn revoke_thousand(store: &impl Store, batch: u64) {
    let some: Vec<_> = (batch * 1_000..(batch + 1) * 1_000)
        .map(revocation)
        .collect();
    store.revoke(&some).await.expect("revocations");
}

/// Checks that a purge removes everything that has expired, however much. `rows` counts the rows of
/// a table.
pub async fn purge_takes_many_steps(store: &impl Store, rows: impl Fn(&str) -> String) {
    let past = UnixTime::from_secs(1_000);
    let ended = |number| {
        let token = new_use(number, 0, 1).token;
        Revocation::of_token(token, None).retained(Some(past))
    };
    let all: Vec<_> = (0..5_000).map(ended).collect();
    store.revoke(&all).await.expect("revocations");
    let until = Clock::system().now();
    let until = until.saturating_add(Duration::from_secs(600));
    for id in 0..3 {
        let mut one = new_use(9_999, id, 4);
        one.until = Some(until);
        store.take_use(&one, now()).await.expect("a use");
    }
    assert_eq!(store.purge(past).await.expect("a purge"), 0);
    let later = UnixTime::from_secs(1_001);
    assert_eq!(store.purge(later).await.expect("a purge"), 5_000);
    let later = until.saturating_add(Duration::from_secs(1));
    assert_eq!(store.purge(later).await.expect("a purge"), 3);
    for table in ["revoked", "uses", "held"] {
        assert_eq!(rows(table), "0", "{table}");
    }
}
