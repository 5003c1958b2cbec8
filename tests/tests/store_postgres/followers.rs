//! Counts what idle nodes ask of the server.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tower_revoke::RevocationList;
use tower_revoke_store_sql::PostgresStore;
use tower_revoke_tests::servers::Postgres;

/// The server counts transactions, of which each read of the feed is one. Its sessions report theirs
/// at most once a second.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_idle_followers_ask_at_most_a_hundred_times_a_second() {
    const NODES: usize = 50;
    let server = Postgres::start(&["-c", "max_connections=300"]).await;
    let node = async |_| {
        let store = PostgresStore::connect(server.url()).await;
        let store = store.expect("a running server");
        RevocationList::new(store)
    };
    let nodes = join_all((0..NODES).map(node)).await;
    join_all(
        nodes
            .iter()
            .map(async |node| while node.ready().await.is_err() {}),
    )
    .await;
    let transactions = || -> f64 {
        let count = "SELECT xact_commit + xact_rollback FROM pg_stat_database \
                     WHERE datname = current_database()";
        server.sql(count).parse().expect("a number")
    };
    // The time is what is measured. First the sessions report how they started.
    sleep(Duration::from_secs(3)).await;
    let (start, before) = (Instant::now(), transactions());
    sleep(Duration::from_secs(10)).await;
    let a_second = (transactions() - before) / start.elapsed().as_secs_f64();
    println!("{NODES} idle followers ask {a_second:.1} times a second");
    assert!((1.0..=100.0).contains(&a_second), "{a_second:.1}");
}
