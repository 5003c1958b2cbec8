//! Tests conditional writes with an unknown outcome (TRAPS 32), TTLs, clock skew and purges.

use std::time::Duration;

use tokio::task::JoinSet;
use tower_revoke_core::{Store, UnixTime, UseOutcome};
use tower_revoke_store_cassandra::CassandraStore;
use tower_revoke_tests::servers::Cassandra;

use super::tools::{driver, key, keyspace, new_use, now, numbers, open, revocation};

/// Returns how many of a thousand callers of one use won. As real callers do, each retries an
/// unknown outcome under the same id.
async fn winners(stores: &[CassandraStore; 4], number: u64) -> usize {
    let mut callers = JoinSet::new();
    for id in 0..1_000_u64 {
        let store = stores[id as usize % 4].clone();
        callers.spawn(async move {
            let use_ = new_use(number, id, 1);
            loop {
                match store.take_use(&use_, now()).await {
                    Ok(outcome) => return matches!(outcome, UseOutcome::Taken { .. }),
                    Err(error) => assert!(super::tools::is_outage(&error), "{error:?}"),
                }
            }
        });
    }
    let won = callers.join_all().await;
    won.into_iter().filter(|won| *won).count()
}

/// With a timeout so short that the server gives up on many of the writes.
#[tokio::test(flavor = "multi_thread")]
async fn trap_32_a_thousand_takers_of_one_use_have_one_winner_whatever_times_out() {
    let server = Cassandra::start(&["cas_contention_timeout: 30ms"]).await;
    let address = server.address();
    let stores = [
        open(&address).await,
        open(&address).await,
        open(&address).await,
        open(&address).await,
    ];
    for number in 0..3 {
        assert_eq!(winners(&stores, number).await, 1, "token {number}");
    }
    stored_keys_have_no_ttl(&address, &stores[0]).await;
    a_life_that_is_past_is_rejected(&stores[0]).await;
    a_write_of_a_clock_that_is_behind_counts(&address).await;
    a_purge_removes_all_uses_of_a_token(&address).await;
    only_silent_writers_are_retired(&address).await;
}

/// `USING TTL 0` would mean forever; any other TTL would expire rows by the server's clock.
async fn stored_keys_have_no_ttl(address: &str, store: &CassandraStore) {
    store.revoke(&[revocation(50)]).await.expect("a revocation");
    store
        .take_use(&new_use(51, 1, 1), now())
        .await
        .expect("a use");
    store
        .take_use(&new_use(52, 1, 2), now())
        .await
        .expect("a use");
    let session = driver(address).await;
    for (table, column) in [("revoked", "at"), ("uses", "until"), ("uses", "held")] {
        let all = format!("SELECT {column}, TTL({column}) FROM tower_revoke.{table}");
        let answer = session.query_unpaged(all, ()).await.expect("an answer");
        let rows = answer.into_rows_result().expect("rows");
        let rows = rows.rows::<(Option<i64>, Option<i32>)>().expect("numbers");
        let mut count = 0;
        for row in rows {
            let (_, ttl) = row.expect("a row");
            assert_eq!(ttl, None, "of {table}.{column}");
            count += 1;
        }
        assert!(count > 0, "nothing in {table}");
    }
}

async fn a_life_that_is_past_is_rejected(store: &CassandraStore) {
    let mut past = new_use(60, 1, 1);
    past.until = Some(UnixTime::from_secs(1));
    let rejected = store.take_use(&past, now()).await;
    let is_past = matches!(rejected, Err(tower_revoke_core::StoreError::Expired));
    assert!(is_past, "{rejected:?}");
}

/// A lift whose driver timestamps are far ahead of those of a later revocation: overwriting the row
/// would lose the revocation.
async fn a_write_of_a_clock_that_is_behind_counts(address: &str) {
    let store = keyspace(address, "skewed").await.connect().await;
    let store = store.expect("a running server");
    store.revoke(&[revocation(1)]).await.expect("a revocation");
    let session = driver(address).await;
    // An hour ahead, as written by a node with a fast clock.
    let ahead = "INSERT INTO skewed.revoked (digest, id, kind, at, author, reason) \
                 VALUES (?, ?, 1, 5, '', '') USING TIMESTAMP ?";
    let now = tower_revoke_core::Clock::system().now().as_secs() as i64;
    let values = (
        key(1).as_bytes().to_vec(),
        vec![1_u8; 16],
        (now + 3_600) * 1_000_000,
    );
    session.query_unpaged(ahead, values).await.expect("a write");
    store.revoke(&[revocation(1)]).await.expect("a revocation");
    let listed = store.look_up(&[key(1)]).await.expect("an answer")[0];
    assert!(listed.is_some(), "a later revocation was lost");
    assert_eq!(
        numbers(&session, "SELECT at FROM skewed.revoked")
            .await
            .len(),
        2
    );
}

/// A purge deletes the uses of a token in batches, and the token with the last batch.
async fn a_purge_removes_all_uses_of_a_token(address: &str) {
    let store = keyspace(address, "many_uses").await.connect().await;
    let store = store.expect("a running server");
    let mut use_ = new_use(1, 1, 5_000);
    let until = now().saturating_add(Duration::from_secs(60));
    use_.until = Some(until);
    store.take_use(&use_, now()).await.expect("a use");
    let session = driver(address).await;
    for id in 1_000_u32..2_200 {
        let insert = "INSERT INTO many_uses.uses (digest, use_id) VALUES (?, ?)";
        let values = (key(1).as_bytes().to_vec(), id.to_be_bytes().to_vec());
        session
            .query_unpaged(insert, values)
            .await
            .expect("a write");
    }
    let later = until.saturating_add(Duration::from_secs(1));
    assert_eq!(store.purge(later).await.expect("a purge"), 1);
    let left = numbers(&session, "SELECT count(*) FROM many_uses.uses").await;
    assert_eq!(left, [0]);
}

/// A writer that was active within a day keeps its log, whatever time a purge is called with.
async fn only_silent_writers_are_retired(address: &str) {
    let open = async || {
        let store = keyspace(address, "writers").await.connect().await;
        store.expect("a running server")
    };
    let (silent, live) = (open().await, open().await);
    silent.revoke(&[revocation(1)]).await.expect("a revocation");
    let session = driver(address).await;
    let back = "SELECT writer FROM writers.writers";
    let [writer] = numbers(&session, back).await[..] else {
        panic!("only one has written");
    };
    // Its last entry, which says that the revocation is complete, must not come after the purge.
    let entries = "SELECT seq FROM writers.log";
    while numbers(&session, entries).await.len() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let three_days_ago = (now().as_secs() as i64 - 3 * 86_400) * 1_000;
    let set = "UPDATE writers.writers SET heartbeat = ? WHERE only_one = 0 AND writer = ?";
    session
        .query_unpaged(set, (three_days_ago, writer))
        .await
        .expect("a write");
    live.revoke(&[revocation(2)]).await.expect("a revocation");
    let ahead = now().saturating_add(Duration::from_secs(10 * 86_400));
    live.purge(ahead).await.expect("a purge");
    let kept = numbers(&session, "SELECT writer FROM writers.log").await;
    assert!(!kept.is_empty(), "the log of a live writer");
    assert!(!kept.contains(&writer), "the log of a silent writer");
    let retired = "SELECT writer FROM writers.writers WHERE retired = true ALLOW FILTERING";
    assert_eq!(numbers(&session, retired).await, [writer]);
}
