//! Tests the checks when a store opens, and their errors.

use std::{
    io,
    sync::{Arc, Mutex},
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tower_revoke_core::{Store, StoreError, UseOutcome};
use tower_revoke_store_redis::{RedisStore, RedisStoreError};
use tower_revoke_testing::error_report;
use tower_revoke_tests::{
    load::{key, new_use, now, revocation},
    servers::Redis,
};

const SECRET: &str = "correct-horse";

/// Returns the error, after checking that it doesn't show the password.
async fn rejected(url: &str) -> RedisStoreError {
    let error = RedisStore::connect(url).await.unwrap_err();
    let shown = error_report(&error);
    assert!(!shown.contains(SECRET), "{shown}");
    error
}

#[tokio::test]
async fn a_server_that_evicts_is_rejected() {
    let redis = Redis::start(&["--maxmemory-policy", "allkeys-lru"]).await;
    let error = rejected(&redis.url()).await;
    assert!(
        matches!(&error, RedisStoreError::Evicts { policy, .. } if policy == "allkeys-lru"),
        "{error:?}"
    );
    // Skipping the check doesn't help where the server reports its policy.
    let store = RedisStore::builder(&redis.url()).skip_eviction_check();
    assert!(matches!(
        store.connect().await.unwrap_err(),
        RedisStoreError::Evicts { .. }
    ));
    // Keys without a TTL are not evicted.
    redis.cli(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
    RedisStore::connect(&redis.url()).await.unwrap();
}

#[tokio::test]
async fn a_hidden_eviction_policy_needs_skip_eviction_check() {
    let redis = Redis::start(&["--rename-command", "CONFIG", ""]).await;
    let error = rejected(&redis.url()).await;
    assert!(
        matches!(error, RedisStoreError::EvictionUnknown { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("skip_eviction_check"));
    let store = RedisStore::builder(&redis.url()).skip_eviction_check();
    let store = store.connect().await.unwrap();
    store.revoke(&[revocation(1)]).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_named_but_not_shown() {
    let redis = Redis::start(&["--requirepass", SECRET]).await;
    let url = |login: &str| format!("redis://{login}127.0.0.1:{}", redis.port());
    for login in ["", ":wrong-horse@", "nobody:wrong-horse@"] {
        let error = rejected(&url(login)).await;
        assert!(matches!(error, RedisStoreError::Login { .. }), "{error:?}");
        let shown = format!("{error:?}");
        assert!(!shown.contains("wrong-horse"), "{shown}");
    }
    let builder = RedisStore::builder(&url(&format!(":{SECRET}@")));
    assert!(!format!("{builder:?}").contains(SECRET));
    let store = builder.connect().await.unwrap();
    store.revoke(&[revocation(1)]).await.unwrap();
    assert!(!format!("{store:?}").contains(SECRET));
    // The password changes at run time: the next connection is rejected with an error that says so.
    redis.cli(&["-a", SECRET, "CONFIG", "SET", "requirepass", "another"]);
    redis.cli(&["-a", "another", "CLIENT", "KILL", "TYPE", "normal"]);
    let error = store.look_up(&[key(1)]).await.unwrap_err();
    assert!(!error_report(&error).contains(SECRET), "{error:?}");
    let StoreError::Unavailable(source) = error else {
        panic!("{error:?}");
    };
    assert!(
        matches!(source.downcast_ref(), Some(RedisStoreError::Login { .. })),
        "{source:?}"
    );
}

#[tokio::test]
async fn tls_connects_only_to_a_trusted_server() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let cert_file = file("cert.pem", &cert.pem());
    let key_file = file("key.pem", &signing_key.serialize_pem());
    let redis = Redis::start(&[
        "--tls-port",
        "0",
        "--tls-cert-file",
        &cert_file,
        "--tls-key-file",
        &key_file,
        "--tls-ca-cert-file",
        &cert_file,
        "--tls-auth-clients",
        "optional",
    ])
    .await;
    // A separate port for TLS, found by trying; redis-cli keeps using the other one.
    let tls_port = (0..50)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .map(|listener| listener.local_addr().unwrap().port().to_string())
        .find(|port| redis.cli(&["CONFIG", "SET", "tls-port", port]) == "OK")
        .expect("a free port");
    let url = |host: &str| format!("rediss://:{SECRET}@{host}:{tls_port}");
    redis.cli(&["CONFIG", "SET", "requirepass", SECRET]);

    let store = RedisStore::builder(&url("localhost")).tls_roots(cert.pem());
    let store = store.connect().await.unwrap();
    let won = store.take_use(&new_use(1, 1, 1), now()).await.unwrap();
    assert_eq!(won, UseOutcome::Taken { left: 0 });

    // No trusted root has signed the certificate.
    let error = rejected(&url("localhost")).await;
    assert!(
        matches!(error, RedisStoreError::Unreachable { .. }),
        "{error:?}"
    );
    // The certificate is for another name.
    let other = RedisStore::builder(&url("127.0.0.1")).tls_roots(cert.pem());
    let error = other.connect().await.unwrap_err();
    assert!(!error_report(&error).contains(SECRET), "{error:?}");
    assert!(
        matches!(error, RedisStoreError::Unreachable { .. }),
        "{error:?}"
    );
    // TLS to a plaintext port, and plaintext to a TLS port: the server may wait for more bytes
    // before it closes the connection.
    for url in [
        format!("rediss://:{SECRET}@localhost:{}", redis.port()),
        format!("redis://:{SECRET}@localhost:{tls_port}"),
    ] {
        let error = rejected(&url).await;
        assert!(
            matches!(
                error,
                RedisStoreError::Unreachable { .. } | RedisStoreError::TimedOut { .. }
            ),
            "{error:?}"
        );
    }
    // An invalid certificate is reported before anything is sent.
    let wrong = RedisStore::builder(&url("localhost")).tls_roots("no certificate");
    let error = wrong.connect().await.unwrap_err();
    assert!(matches!(error, RedisStoreError::Tls(_)), "{error:?}");
}

#[tokio::test]
async fn data_of_another_version_is_left_alone() {
    let redis = Redis::start(&[]).await;
    RedisStore::connect(&redis.url()).await.unwrap();
    redis.cli(&["HSET", "{tower-revoke:0}:meta", "layout", "2, 1 tags"]);
    let error = rejected(&redis.url()).await;
    assert!(
        matches!(&error, RedisStoreError::OtherLayout { found, .. } if found == "2, 1 tags"),
        "{error:?}"
    );
    let other = RedisStore::builder(&redis.url()).key_prefix("other");
    other.connect().await.unwrap();
}

#[tokio::test]
async fn a_full_server_rejects_and_forgets_nothing() {
    let redis = Redis::start(&[]).await;
    let store = RedisStore::connect(&redis.url()).await.unwrap();
    store.revoke(&[revocation(1), revocation(2)]).await.unwrap();
    store.take_use(&new_use(3, 1, 1), now()).await.unwrap();
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let full = |error: StoreError| matches!(error, StoreError::Full(3));
    assert!(full(store.revoke(&[revocation(4)]).await.unwrap_err()));
    assert!(full(
        store.take_use(&new_use(5, 1, 1), now()).await.unwrap_err()
    ));
    let found = store
        .look_up(&[key(1), key(2), key(3), key(4)])
        .await
        .unwrap();
    assert_eq!(found.iter().filter(|found| found.is_some()).count(), 3);
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    store.revoke(&[revocation(4)]).await.unwrap();
}

#[tokio::test]
async fn a_server_without_aof_is_logged() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer({
            let log = log.clone();
            move || log.clone()
        })
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let redis = Redis::start(&[]).await;
    RedisStore::connect(&redis.url()).await.unwrap();
    assert_eq!(log.text(), "", "the most durable configuration");
    redis.cli(&["CONFIG", "SET", "appendfsync", "everysec"]);
    RedisStore::connect(&redis.url()).await.unwrap();
    assert!(
        log.text().contains("about the last second"),
        "{}",
        log.text()
    );
    redis.cli(&["CONFIG", "SET", "appendonly", "no"]);
    RedisStore::connect(&redis.url()).await.unwrap();
    assert!(log.text().contains("WARN"), "{}", log.text());
    assert!(log.text().contains("AOF is off"), "{}", log.text());
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
