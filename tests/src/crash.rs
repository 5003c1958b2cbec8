//! Crash tests for every store on a server: kills and freezes, under load and without.

use std::time::Duration;

use tower_revoke::core::{Store, UseOutcome};
use tower_revoke_testing::rounds;

use crate::{
    load::{Load, key, new_use, now},
    servers::{StoreServer, is_outage},
};

/// Generates a test for each function of [`crash`](self), for one kind of [`StoreServer`].
#[macro_export]
macro_rules! crash_tests {
    ($server:ty) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn kills_lose_no_acknowledged_write() {
            $crate::crash::kills::<$server>().await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn a_server_that_freezes_under_load_has_one_winner_per_use() {
            $crate::crash::freezes_under_load::<$server>().await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn calls_to_a_frozen_server_time_out_and_succeed_after_the_thaw() {
            $crate::crash::frozen::<$server>().await;
        }
    };
}

/// Kills the server three or ten times under the load of two nodes. No acknowledged write may be
/// lost.
pub async fn kills<S: StoreServer>() {
    let mut server = S::fresh().await;
    let load = Load::start(&[server.open().await, server.open().await]);
    for _ in 0..rounds(3, 10) {
        load.goes_on(300).await;
        server.kill().await;
        server.restart().await;
    }
    load.goes_on(300).await;
    kept_all(load, &server).await;
}

/// Freezes the server three times. Calls that were delayed must not take uses that others took
/// meanwhile.
pub async fn freezes_under_load<S: StoreServer>() {
    let server = S::fresh().await;
    let load = Load::start(&[server.open().await, server.open().await]);
    for _ in 0..3 {
        load.goes_on(200).await;
        server.freeze();
        load.fails(16).await;
        server.thaw();
    }
    load.goes_on(200).await;
    kept_all(load, &server).await;
}

async fn kept_all<S: StoreServer>(load: Load, server: &S) {
    let done = load.stop().await;
    assert_eq!(done.lost(&server.open().await).await, 0);
    assert_eq!(done.won_twice(), 0);
}

/// Every call to a frozen server times out. After the thaw, an ambiguous use belongs to its caller.
pub async fn frozen<S: StoreServer>() {
    let server = S::fresh().await;
    let store = server.open_impatient(Duration::from_millis(500)).await;
    server.freeze();
    for round in 0..3 {
        let (use_, keys) = (new_use(1, 1, 1), [key(1)]);
        let answers = async {
            tokio::join!(
                store.take_use(&use_, now()),
                store.look_up(&keys),
                store.feed().expect("a feed").changes(None),
            )
        };
        // A generous limit: only checks that it ends.
        let answers = tokio::time::timeout(Duration::from_secs(30), answers).await;
        let (taken, found, changes) = answers.expect("a response in bounded time");
        let errors = [
            ("use", taken.err()),
            ("look_up", found.err()),
            ("changes", changes.err()),
        ];
        for (call, error) in errors {
            let is_late = error.as_ref().is_some_and(is_outage);
            assert!(is_late, "{call} in round {round}: {error:?}");
        }
    }
    server.thaw();
    let mine = async {
        loop {
            match store.take_use(&new_use(1, 1, 1), now()).await {
                Ok(outcome) => break outcome,
                // For a moment, calls still get the error of the last attempt to connect.
                Err(error) => assert!(is_outage(&error), "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mine = tokio::time::timeout(Duration::from_secs(60), mine).await;
    let mine = mine.expect("the store recovers");
    assert_eq!(mine, UseOutcome::Taken { left: 0 });
    let other = store.take_use(&new_use(1, 2, 1), now()).await;
    assert_eq!(other.expect("a running server"), UseOutcome::Spent);
}
