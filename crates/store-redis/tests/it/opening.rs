//! Tests invalid settings, and an unreachable server.

use std::{io, time::Duration};

use tower_revoke_store_redis::{RedisStore, RedisStoreError};
use tower_revoke_testing::error_report;

const SECRET: &str = "correct-horse";

/// Returns the error, after checking that it doesn't show the password.
async fn rejected(url: &str) -> RedisStoreError {
    let error = RedisStore::connect(url).await.unwrap_err();
    let shown = error_report(&error);
    assert!(!shown.contains(SECRET), "{shown}");
    error
}

#[tokio::test]
async fn an_unreachable_server_is_named() {
    let url = format!("redis://:{SECRET}@nowhere.invalid:6379");
    let error = rejected(&url).await;
    let RedisStoreError::Unreachable { node, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(node, "nowhere.invalid:6379");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://:{SECRET}@{}", closed.local_addr().unwrap());
    drop(closed);
    let error = rejected(&url).await;
    let RedisStoreError::Unreachable { source, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn invalid_settings_are_rejected() {
    let url = "redis://127.0.0.1:1";
    for store in [
        RedisStore::builder(url).key_prefix(""),
        RedisStore::builder(url).key_prefix("{a}"),
        RedisStore::builder(url).wait_for_replicas(1, Duration::from_secs(2)),
        RedisStore::builder("http://127.0.0.1"),
        RedisStore::cluster([]),
        RedisStore::cluster([url, "rediss://127.0.0.1:2"]),
        RedisStore::cluster([url]).database(1),
        RedisStore::sentinel("name", []),
    ] {
        let error = store.connect().await.unwrap_err();
        assert!(matches!(error, RedisStoreError::Setting(_)), "{error:?}");
    }
    let store = RedisStore::builder(url).request_timeout(Duration::ZERO);
    let error = store.connect().await.unwrap_err();
    assert!(matches!(error, RedisStoreError::RequestTimeout(_)));
}
