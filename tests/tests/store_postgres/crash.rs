//! A server that is killed and frozen while it is asked.

use std::time::Duration;

use tower_revoke_core::{ClaimOutcome, Store};
use tower_revoke_store_sql::PostgresStore;
use tower_revoke_tests::servers::Postgres;

use super::tools::{Load, claim, is_outage, key, open};

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_of_postgres_lose_nothing_that_was_acknowledged() {
    let mut server = Postgres::start(&[]).await;
    let load = Load::start(&[open(&server).await, open(&server).await]);
    for _ in 0..10 {
        load.goes_on(200).await;
        server.kill().await;
        server.restart().await;
    }
    load.goes_on(200).await;
    let done = load.stop().await;
    assert_eq!(done.lost(&open(&server).await).await, 0);
    assert_eq!(done.won_twice(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_freezes_under_load_has_no_two_winners() {
    let server = Postgres::start(&[]).await;
    let load = Load::start(&[open(&server).await, open(&server).await]);
    for _ in 0..3 {
        load.goes_on(200).await;
        server.freeze();
        load.fails(16).await;
        server.thaw();
    }
    load.goes_on(200).await;
    let done = load.stop().await;
    assert_eq!(done.lost(&open(&server).await).await, 0);
    assert_eq!(done.won_twice(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_postgres_is_given_up_in_time_and_taken_again() {
    let server = Postgres::start(&[]).await;
    let store = PostgresStore::builder(server.url()).answer_within(Duration::from_millis(500));
    let store = store.connect().await.expect("a server that is up");
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
        assert!(
            claimed.is_err_and(|error| is_outage(&error)),
            "round {round}"
        );
        assert!(found.is_err_and(|error| is_outage(&error)), "round {round}");
        assert!(
            changes.is_err_and(|error| is_outage(&error)),
            "round {round}"
        );
    }
    server.thaw();
    let mine = loop {
        match store.claim(&claim(1, 1, 1)).await {
            Ok(outcome) => break outcome,
            // For a moment, all are told of the last attempt.
            Err(error) => assert!(is_outage(&error), "{error:?}"),
        }
    };
    assert_eq!(mine, ClaimOutcome::Won { left: 0 });
    let other = store
        .claim(&claim(1, 2, 1))
        .await
        .expect("a server that is up");
    assert_eq!(other, ClaimOutcome::Spent);
}
