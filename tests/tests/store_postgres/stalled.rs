//! A node that stalls in the middle of a transaction delays the others briefly.

use std::time::Duration;

use tower_revoke_core::{Store, UseOutcome};
use tower_revoke_store_sql::PostgresStore;
use tower_revoke_tests::{
    load::{new_use, now},
    servers::{Postgres, Rewriter, StoreServer, is_outage},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stalls_before_its_commit_delays_the_others_briefly() {
    let server = Postgres::start(&[]).await;
    let way = Rewriter::to(&server.url(), &[]).await;
    let stalled = PostgresStore::builder(way.url(&server.url()));
    let stalled = stalled.request_timeout(Duration::from_millis(900));
    let stalled = stalled.connect().await.expect("a running server");
    let store = server.open_impatient(Duration::from_secs(30)).await;
    way.withhold_commits(true);
    let late = stalled.take_use(&new_use(1, 1, 2), now()).await;
    let late = late.expect_err("its commit is withheld");
    assert!(is_outage(&late), "{late:?}");
    assert!(way.withheld() > 0, "it had the lock");
    // The stalled connection stays open and silent.
    for (id, left) in [(2, 1), (3, 0)] {
        let won = store.take_use(&new_use(1, id, 2), now()).await;
        assert_eq!(won.expect("a use"), UseOutcome::Taken { left });
    }
    way.withhold_commits(false);
    let lost = stalled.take_use(&new_use(1, 1, 2), now()).await;
    assert_eq!(lost.expect("an answer"), UseOutcome::Spent);
}
