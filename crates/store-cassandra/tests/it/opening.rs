//! Tests invalid settings, and an unreachable server.

use std::time::Duration;

use tower_revoke_store_cassandra::{CassandraStore, CassandraStoreError};

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_would_lose_writes_are_rejected_before_connecting() {
    let builder = || CassandraStore::builder(["127.0.0.1:1"]).credentials("ann", "s3cret");
    for weak in ["ONE", "ANY", "TWO", "LOCAL_ONE", "quorum", ""] {
        let rejected = builder().consistency(weak).connect().await;
        let rejected = rejected.expect_err("it would miss writes");
        let is_named = matches!(&rejected, CassandraStoreError::Consistency(name) if name == weak);
        assert!(is_named, "{rejected:?}");
    }
    for name in ["", "a\"b", "a b", &"a".repeat(49)] {
        let rejected = builder().keyspace(name).connect().await;
        assert!(
            matches!(rejected, Err(CassandraStoreError::Setting(_))),
            "{name}"
        );
    }
    let timeout = builder().request_timeout(Duration::MAX).connect().await;
    assert!(matches!(
        timeout,
        Err(CassandraStoreError::RequestTimeout(_))
    ));
    assert!(!format!("{:?}", builder()).contains("s3cret"));
    let nobody = builder().connect().await.expect_err("nobody listens");
    assert!(
        matches!(nobody, CassandraStoreError::Unreachable(_)),
        "{nobody:?}"
    );
    assert!(!format!("{nobody:?} {nobody}").contains("s3cret"));
}
