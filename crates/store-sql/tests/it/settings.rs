//! Tests invalid settings, and unreachable servers.

#[cfg(feature = "postgres")]
#[tokio::test]
async fn postgres_rejects_invalid_settings_before_connecting() {
    use std::time::Duration;

    use tower_revoke_store_sql::{PostgresStore, SqlStoreError};

    for address in ["postgres://127.0.0.1:1/x", "mysql://127.0.0.1/x", "", "\0"] {
        let builder = PostgresStore::builder(address).request_timeout(Duration::from_secs(5));
        let rejected = builder.connect().await;
        assert!(rejected.is_err(), "{address}");
    }
    for name in ["", "a\"b", "a b", &"a".repeat(64)] {
        let rejected = PostgresStore::builder("postgres://127.0.0.1:1/x").schema(name);
        let rejected = rejected.connect().await;
        assert!(matches!(rejected, Err(SqlStoreError::Setting(_))), "{name}");
    }
}

#[cfg(feature = "mysql")]
#[tokio::test]
async fn mysql_rejects_invalid_settings_before_connecting() {
    use tower_revoke_store_sql::{MySqlStore, SqlStoreError};

    let nobody = MySqlStore::connect("mysql://127.0.0.1:1/x").await;
    assert!(
        matches!(nobody, Err(SqlStoreError::Unreachable(_))),
        "{nobody:?}"
    );
    for address in [
        "mysql://127.0.0.1:1".to_owned(),
        "postgres://127.0.0.1/x".to_owned(),
        String::new(),
        "\0".to_owned(),
    ] {
        let rejected = MySqlStore::connect(address.as_str()).await;
        assert!(
            matches!(rejected, Err(SqlStoreError::Setting(_))),
            "{address}: {rejected:?}"
        );
    }
    for prefix in ["a`b", "a b", &"a".repeat(49)] {
        let rejected = MySqlStore::builder("mysql://127.0.0.1:1/x").table_prefix(prefix);
        let rejected = rejected.connect().await;
        assert!(
            matches!(rejected, Err(SqlStoreError::Setting(_))),
            "{prefix}"
        );
    }
}

/// Settings that have no effect with a pool are rejected.
#[cfg(all(feature = "postgres", feature = "tls"))]
#[tokio::test]
async fn postgres_rejects_settings_of_the_pool_beside_it() {
    use sqlx::PgPool;
    use tower_revoke_store_sql::{PostgresStore, SqlStoreError};

    let pool = PgPool::connect_lazy("postgres://127.0.0.1:1/x").unwrap();
    let builder = || PostgresStore::builder_from_pool(pool.clone());
    for builder in [
        builder().max_connections(2),
        builder().credentials("orders", "s3cret"),
        builder().tls_roots("roots"),
    ] {
        let rejected = builder.connect().await.unwrap_err();
        assert!(
            matches!(rejected, SqlStoreError::Setting(_)),
            "{rejected:?}"
        );
    }
}

/// Settings that have no effect with a pool are rejected, and so is a pool without a database.
#[cfg(all(feature = "mysql", feature = "tls"))]
#[tokio::test]
async fn mysql_rejects_settings_of_the_pool_beside_it() {
    use sqlx::MySqlPool;
    use tower_revoke_store_sql::{MySqlStore, SqlStoreError};

    let lazy = |url| MySqlPool::connect_lazy(url).unwrap();
    let pool = lazy("mysql://127.0.0.1:1/x");
    let builder = || MySqlStore::builder_from_pool(pool.clone());
    for builder in [
        builder().max_connections(2),
        builder().credentials("orders", "s3cret"),
        builder().tls_roots("roots"),
        MySqlStore::builder_from_pool(lazy("mysql://127.0.0.1:1")),
    ] {
        let rejected = builder.connect().await.unwrap_err();
        assert!(
            matches!(rejected, SqlStoreError::Setting(_)),
            "{rejected:?}"
        );
    }
}
