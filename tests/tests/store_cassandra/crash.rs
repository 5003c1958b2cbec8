//! A server that is killed and frozen while it is asked.

use std::time::Duration;

use tower_revoke_core::{ClaimOutcome, Store, StoreError};
use tower_revoke_tests::servers::Cassandra;

use super::tools::{Load, claim, is_outage, key, keyspace, open, revocation};

/// One server for all of it: a start costs more than anything that is done to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cassandra_that_is_frozen_and_killed_under_load_loses_nothing_and_has_no_two_winners() {
    let mut server = Cassandra::start(&[]).await;
    is_given_up_in_time_and_taken_again(&server).await;
    let address = server.address();
    let load = Load::start(&[open(&address).await, open(&address).await]);
    for _ in 0..2 {
        load.goes_on(100).await;
        server.freeze();
        load.fails(16).await;
        server.thaw();
    }
    for _ in 0..10 {
        load.goes_on(100).await;
        server.kill().await;
        server.restart().await;
    }
    load.goes_on(100).await;
    let done = load.stop().await;
    assert_eq!(done.lost(&open(&address).await).await, 0);
    assert_eq!(done.won_twice(), 0);
}

async fn is_given_up_in_time_and_taken_again(server: &Cassandra) {
    let builder = keyspace(&server.address(), "frozen").await;
    let builder = builder.answer_within(Duration::from_millis(500));
    let store = builder.connect().await.expect("a server that is up");
    server.freeze();
    for round in 0..3 {
        let (claim, keys) = (claim(1, 1, 1), [key(1)]);
        let answers = async {
            tokio::join!(
                store.claim(&claim),
                store.look_up(&keys),
                store.changes(None),
            )
        };
        // Far more than it may take: the test is that it ends.
        let answers = tokio::time::timeout(Duration::from_secs(30), answers).await;
        let (claimed, found, changes) = answers.expect("an answer in bounded time");
        let is_late = |error: &StoreError| matches!(error, StoreError::TimedOut(_));
        assert!(claimed.is_err_and(|error| is_late(&error)), "round {round}");
        assert!(found.is_err_and(|error| is_late(&error)), "round {round}");
        assert!(changes.is_err_and(|error| is_late(&error)), "round {round}");
    }
    server.thaw();
    let mine = loop {
        match store.claim(&claim(1, 1, 1)).await {
            Ok(outcome) => break outcome,
            Err(error) => assert!(is_outage(&error), "{error:?}"),
        }
    };
    assert_eq!(mine, ClaimOutcome::Won { left: 0 });
    let other = store.claim(&claim(1, 2, 1)).await;
    assert_eq!(other.expect("a server that is up"), ClaimOutcome::Spent);
    store.revoke(&[revocation(1)]).await.expect("it goes on");
}
