//! Runs one of several nodes that share a store: the whole stack over HTTP, as a process.
//!
//! `store-node KIND PLACE KEYS [SETTING=VALUE]…`: the kind of the store and its address, the file
//! with the issuer's keys, and settings of the list, with times in milliseconds. Prints its address
//! once the list is ready.

#![expect(clippy::print_stdout, reason = "it tells where it listens")]

use std::{env, fmt::Write, io, path::Path, process::ExitCode, time::Duration};

use axum::{Extension, Router, http::StatusCode, routing::get};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tower_revoke::{
    RevocationList, RevocationListBuilder,
    core::{BoxError, Store},
};
use tower_revoke_store_cassandra::CassandraStore;
use tower_revoke_store_embedded::EmbeddedStore;
use tower_revoke_store_redis::RedisStore;
use tower_revoke_store_sql::{MySqlStore, PostgresStore, SqliteStore};
use tower_revoke_tests::{issuing, node, servers::WatchedRedis};

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .init();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [kind, place, keys, settings @ ..] = arguments.as_slice() else {
        return Err("store-node KIND PLACE KEYS [SETTING=VALUE]…".into());
    };
    match kind.as_str() {
        "redis" => run(RedisStore::connect(place).await?, settings, keys).await,
        "redis-sentinel" => {
            let store = RedisStore::sentinel(WatchedRedis::NAME, [place.as_str()]);
            run(store.connect().await?, settings, keys).await
        }
        "redis-cluster" => {
            let store = RedisStore::cluster(place.split(','));
            run(store.connect().await?, settings, keys).await
        }
        "mariadb" => run(MySqlStore::connect(place).await?, settings, keys).await,
        "cassandra" => {
            let store = CassandraStore::builder([place]).connect().await?;
            run(store, settings, keys).await
        }
        "sqlite" => run(SqliteStore::open(place).await?, settings, keys).await,
        "postgres" => run(PostgresStore::connect(place).await?, settings, keys).await,
        "embedded" => run(EmbeddedStore::open(place)?, settings, keys).await,
        other => Err(format!("no store is named {other}").into()),
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn run(store: impl Store + Clone, settings: &[String], keys: &str) -> Result<(), BoxError> {
    let list = list(store.clone(), settings)?;
    let issuing = issuing::router(list.clone(), store)?;
    serve(list, issuing, keys).await
}

fn list(store: impl Store, settings: &[String]) -> Result<RevocationList, BoxError> {
    let start = RevocationList::builder(store);
    let list = settings.iter().try_fold(start, |list, setting| {
        let pair = setting.split_once('=');
        let (name, value) = pair.ok_or_else(|| format!("{setting} is no SETTING=VALUE"))?;
        set(list, name, value.parse()?)
    });
    Ok(list?.build()?)
}

fn set<S>(
    list: RevocationListBuilder<S>,
    name: &str,
    value: u64,
) -> Result<RevocationListBuilder<S>, BoxError> {
    Ok(match name {
        "max_staleness" => list.max_staleness(Duration::from_millis(value)),
        "store_timeout" => list.store_timeout(Duration::from_millis(value)),
        "mirror_capacity" => list.mirror_capacity(value),
        other => return Err(format!("no setting is named {other}").into()),
    })
}

async fn serve(list: RevocationList, issuing: Router, keys: &str) -> Result<(), BoxError> {
    let recorder = DebuggingRecorder::new();
    let told = recorder.snapshotter();
    recorder.install()?;
    let node = node::router(list.clone(), Path::new(keys))?;
    list.ready().await?;
    let open = Router::new()
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .layer(Extension(told));
    let app = node.merge(issuing).merge(open).layer(Extension(list));
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", socket.local_addr()?);
    axum::serve(socket, app).await?;
    Ok(())
}

async fn ready(Extension(list): Extension<RevocationList>) -> StatusCode {
    match list.ready().await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Responds with a line for each series: its name and its value.
async fn metrics(
    Extension(list): Extension<RevocationList>,
    Extension(told): Extension<Snapshotter>,
) -> String {
    list.stats().report();
    let mut lines = String::new();
    for (key, _, _, value) in told.snapshot().into_vec() {
        let value = match value {
            DebugValue::Counter(count) => count.to_string(),
            DebugValue::Gauge(level) => level.to_string(),
            DebugValue::Histogram(_) => continue,
        };
        // Writing to a string can't fail.
        let _ = writeln!(lines, "{} {value}", key.key().name());
    }
    lines
}
