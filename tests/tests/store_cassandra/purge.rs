//! Tests purges: one node at a time, all of the ring, in several ranges at once.

use std::time::Duration;

use tokio::time::Instant;
use tower_revoke_core::{Store, UnixTime};
use tower_revoke_store_cassandra::CassandraStore;
use tower_revoke_tests::servers::SharedCassandra;

use super::tools::{driver, keyspace, new_use, now, numbers, revocation};

const REVOCATIONS: u64 = 5_000;
const USES: u64 = 200;

/// Revokes and takes what ends at the time that is returned.
async fn fill(store: &CassandraStore) -> UnixTime {
    let until = now().saturating_add(Duration::from_secs(3_600));
    let all: Vec<_> = (0..REVOCATIONS)
        .map(|number| revocation(number).retained(Some(until)))
        .collect();
    for some in all.chunks(1_000) {
        store.revoke(some).await.expect("revocations");
    }
    for number in 0..USES {
        let mut use_ = new_use(number, 1, 1);
        use_.until = Some(until);
        store.take_use(&use_, now()).await.expect("a use");
    }
    until
}

/// TRAPS 55: nodes that purge at the same time read everything at the same time.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "what is measured is printed")]
async fn trap_55_one_node_purges_at_a_time() {
    let server = SharedCassandra::start().await;
    let address = server.address();
    let name = format!("Purge_{}", std::process::id());
    let builder = keyspace(&address, &name).await;
    let open = async || builder.clone().connect().await.expect("a running server");
    let (one, other) = (open().await, open().await);
    let until = fill(&one).await;
    let ended = until.saturating_add(Duration::from_secs(1));

    // Another node is purging, and has not been heard of for less than a minute.
    let session = driver(&address).await;
    let lease = |set: &str, condition: &str| {
        format!(
            "UPDATE \"{name}\".store USING TTL 60 SET purger = {set} WHERE only_one = 1 \
             IF purger = {condition}"
        )
    };
    let held = session.query_unpaged(lease("0x01", "null"), ()).await;
    held.expect("a write");
    assert_eq!(one.purge(ended).await.expect("an answer"), 0);
    let count = |table: &str| format!("SELECT count(*) FROM \"{name}\".{table}");
    let revoked = numbers(&session, &count("revoked")).await;
    assert_eq!(revoked, [REVOCATIONS as i64], "two nodes purge");
    let released = session.query_unpaged(lease("null", "0x01"), ()).await;
    released.expect("a write");

    let began = Instant::now();
    let (first, second) = tokio::join!(one.purge(ended), other.purge(ended));
    let mut dropped = [first.expect("a purge"), second.expect("a purge")];
    dropped.sort_unstable();
    println!(
        "{} entries were purged in {:?}",
        dropped[1],
        began.elapsed()
    );
    assert_eq!(dropped, [0, REVOCATIONS + USES]);
    for table in ["revoked", "uses"] {
        assert_eq!(numbers(&session, &count(table)).await, [0], "{table}");
    }
    // The lease ends with the purge.
    let again = revocation(1).retained(Some(until));
    one.revoke(&[again]).await.expect("a revocation");
    assert_eq!(other.purge(ended).await.expect("a purge"), 1);
}
