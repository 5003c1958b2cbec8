//! Writes to a store until it is killed, and prints what was acknowledged. The test `kill_nine`
//! starts it.
//!
//! `store-writer KIND PLACE SEED`; each printed line is an [`Ack`].

use std::{
    convert::Infallible,
    env,
    io::{Write, stdout},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use tower_revoke::{
    Revocation, StoreError,
    core::{BoxError, Store, UseOutcome},
};
use tower_revoke_store_embedded::{EmbeddedStore, EmbeddedStoreError};
use tower_revoke_store_sql::{SqliteStore, SqliteStoreError};
use tower_revoke_tests::{acks::Ack, load::now};

/// At most this many writes have no known outcome when the process is killed.
const WRITERS: usize = 8;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Err(error) = run(&arguments).await;
    let _ = writeln!(std::io::stderr(), "{error}");
    ExitCode::FAILURE
}

async fn run(arguments: &[String]) -> Result<Infallible, BoxError> {
    let [kind, place, seed] = arguments else {
        return Err("store-writer KIND PLACE SEED".into());
    };
    let seed = seed.parse()?;
    match kind.as_str() {
        "embedded" => write(embedded(place)?, seed).await,
        "sqlite" => write(sqlite(place).await?, seed).await,
        other => Err(format!("no store is named {other}").into()),
    }
}

/// The long timeout keeps a slow disk from failing the test.
fn embedded(place: &str) -> Result<EmbeddedStore, EmbeddedStoreError> {
    let builder = EmbeddedStore::builder(place);
    builder.request_timeout(Duration::from_secs(600)).open()
}

async fn sqlite(place: &str) -> Result<SqliteStore, SqliteStoreError> {
    let builder = SqliteStore::builder(place);
    builder
        .request_timeout(Duration::from_secs(600))
        .open()
        .await
}

async fn write<S: Store>(store: S, seed: u64) -> Result<Infallible, BoxError> {
    let store = Arc::new(store);
    let next = Arc::new(AtomicU64::new(seed << 32));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (store, next) = (store.clone(), next.clone());
        writers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                one(&*store, number).await?;
            }
        });
    }
    let Some(ended) = writers.join_next().await else {
        return Err("there are writers".into());
    };
    ended?
}

/// Makes a revocation, or two concurrent uses of a single-use token.
async fn one<S: Store>(store: &S, number: u64) -> Result<(), BoxError> {
    let token = Ack::token(number);
    if number.is_multiple_of(2) {
        store.revoke(&[Revocation::of_token(token, None)]).await?;
        return say(Ack::Revoked(number));
    }
    let taken = async |use_: u8| -> Result<(), BoxError> {
        let outcome: Result<UseOutcome, StoreError> =
            store.take_use(&Ack::new_use(number, use_), now()).await;
        match outcome? {
            UseOutcome::Taken { .. } => say(Ack::Won(number, use_)),
            UseOutcome::Spent => say(Ack::Lost(number, use_)),
        }
    };
    let (one, other) = tokio::join!(taken(1), taken(2));
    one.and(other)
}

/// Writes the line in one piece, so that it is printed whole or not at all.
fn say(ack: Ack) -> Result<(), BoxError> {
    let line = format!("{ack}\n");
    let mut out = stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()?;
    Ok(())
}
