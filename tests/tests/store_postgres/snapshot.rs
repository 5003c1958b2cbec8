//! Tests that writes stay fast while a client holds a snapshot for a long time.

use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};
use tokio::time::Instant;
use tower_revoke_core::Store;
use tower_revoke_testing::rounds;
use tower_revoke_tests::{
    load::{new_use, now, revocation},
    servers::{Postgres, StoreServer},
};

/// While a backup or a report holds a snapshot, vacuum removes no row versions. A row that every
/// write updates would have a version for each write, and every write would have to skip them all.
#[tokio::test(flavor = "multi_thread")]
async fn uses_leave_no_dead_rows_while_a_snapshot_is_held() {
    const AT_ONCE: u64 = 1_000;
    let server = Postgres::start(&[]).await;
    let store = server.open().await;
    store.revoke(&[revocation(0)]).await.expect("a revocation");
    let mut report = PgConnection::connect(&server.url())
        .await
        .expect("a running server");
    report
        .execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM tower_revoke.store")
        .await
        .expect("a snapshot");
    let mut times = Vec::<Duration>::new();
    for thousand in 0..rounds(3, 200) {
        let start = Instant::now();
        for number in thousand * AT_ONCE..(thousand + 1) * AT_ONCE {
            let used = store.take_use(&new_use(number, 1, 1), now()).await;
            used.expect("a use");
        }
        times.push(start.elapsed());
    }
    let (first, last) = (times[0], times[times.len() - 1]);
    println!(
        "the last {AT_ONCE} of {} uses took {:.2} times as long as the first",
        AT_ONCE * rounds(3, 200),
        last.as_secs_f64() / first.as_secs_f64()
    );
    // Statistics would lag. The size suffices: vacuum can't free a page while the snapshot is held.
    let pages = "SELECT pg_relation_size('tower_revoke.store') / 8192";
    let pages: u64 = server.sql(pages).parse().expect("a number");
    assert!(pages <= 4, "{pages} pages for one row");
}
