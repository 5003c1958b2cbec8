//! Tests of what is stored, of the space that a purge frees, and of concurrent writers.

use std::{fs, num::NonZeroU32, path::Path, time::Duration};

use sqlx::{ConnectOptions, Connection, Executor, Row};
use tower_revoke_core::{
    KeyDigest, Revocation, Store, StoreError, TokenId, UnixTime, Use, UseId, UseOutcome,
};

use super::conformance::{closed, log};
use crate::{
    backend::Trim,
    sqlite::{SqliteStore, file, writing},
};

const END: UnixTime = UnixTime::from_secs(4_000_000_000);

fn token(number: u64) -> TokenId {
    TokenId::of_jwt("keeping", &number.to_string())
}

fn end_of(number: u64) -> Revocation {
    Revocation::of_token(token(number), None).retained(Some(END))
}

async fn open(path: &Path) -> SqliteStore {
    // A slow disk must not fail the test.
    let builder = SqliteStore::builder(path).request_timeout(Duration::from_secs(600));
    builder.open().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_frees_disk_space() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let store = open(&path).await;
    let long = "long ".repeat(2_000);
    let many: Vec<_> = (0..4_000).map(|n| end_of(n).because(&long)).collect();
    store.revoke(&many).await.unwrap();
    let later = END.saturating_add(Duration::from_secs(1));
    let kept = Revocation::of_token(token(1_000_000), None).retained(Some(later));
    store.revoke(std::slice::from_ref(&kept)).await.unwrap();
    let mut link = file::options(&path).connect().await.unwrap();
    let to_file = "PRAGMA wal_checkpoint(TRUNCATE)";
    link.execute(to_file).await.unwrap();
    let size = || fs::metadata(&path).unwrap().len();
    let full = size();
    assert!(full > 16 << 20, "{full}");
    assert_eq!(store.purge(later).await.unwrap(), 4_000);
    link.execute(to_file).await.unwrap();
    let left = size();
    assert!(left < full / 2, "{left} of {full} bytes are left");
    let keys = [kept.key().digest(), many[0].key().digest()];
    let listed = store.look_up(&keys).await.unwrap();
    assert!(listed[0].is_some() && listed[1].is_none());
    let sound = link.fetch_one("PRAGMA integrity_check").await.unwrap();
    assert_eq!(sound.get::<String, _>(0), "ok");
}

/// Tokens that are spent in one batch share a row of the feed, which is trimmed as a whole.
#[tokio::test]
async fn rows_of_the_feed_are_trimmed_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let store = open(&path).await;
    let uses = async |numbers: std::ops::Range<u64>| {
        let mut tasks = tokio::task::JoinSet::new();
        for number in numbers {
            let (store, id) = (store.clone(), UseId::from_bytes([1; 16]));
            let use_ = Use::new(token(number), id, NonZeroU32::MIN, None);
            tasks.spawn(async move { store.take_use(&use_, UnixTime::EPOCH).await.unwrap() });
        }
        let taken = UseOutcome::Taken { left: 0 };
        assert!(tasks.join_all().await.iter().all(|one| *one == taken));
    };
    uses(0..100).await;
    uses(100..200).await;
    let mut link = file::options(&path).connect().await.unwrap();
    let trim = Trim {
        kept: 10,
        retention: 1_000_000,
        at_once: 1_000_000,
    };
    writing::trim(&mut link, trim).await.unwrap();
    let state = "SELECT count(*), sum(length(digests)) / 16, trimmed, \
                 min(events.seq - length(digests) / 16) FROM events, store";
    let row = link.fetch_one(state).await.unwrap();
    let [rows, events, trimmed, first] = [0, 1, 2, 3].map(|place| row.get::<i64, _>(place));
    assert!((1..20).contains(&rows), "{rows} rows");
    assert!((10..=100).contains(&events), "{events} events");
    assert_eq!((first, trimmed + events), (trimmed, 200));
}

#[tokio::test]
async fn every_connection_flushes_what_it_commits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    drop(open(&path).await);
    closed(&path).await;
    let mut link = file::durable(file::options(&path)).connect().await.unwrap();
    for (pragma, expected) in [("synchronous", 2), ("fullfsync", 1), ("auto_vacuum", 2)] {
        let row = link.fetch_one(&*format!("PRAGMA {pragma}")).await.unwrap();
        assert_eq!(row.get::<i64, _>(0), expected, "{pragma}");
    }
    let row = link.fetch_one("PRAGMA journal_mode").await.unwrap();
    assert_eq!(row.get::<String, _>(0), "wal");
    let rejected = link.execute("INSERT INTO held VALUES (x'00', x'00')").await;
    assert!(rejected.unwrap_err().to_string().contains("CHECK"));
}

/// Connections that are closed at the same time would leave the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_handle_removes_the_log_file() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..100 {
        let path = folder.path().join(round.to_string());
        let store = open(&path).await;
        store.revoke(&[end_of(round)]).await.unwrap();
        store.purge(UnixTime::from_secs(1)).await.unwrap();
        let keys = [KeyDigest::of_token(token(round))];
        let look_up = || store.look_up(&keys);
        let found = tokio::join!(look_up(), look_up(), look_up(), look_up());
        drop(store);
        assert!(found.0.unwrap()[0].is_some());
        let log = log(&path);
        let gone = async {
            while log.exists() {
                tokio::task::yield_now().await;
            }
        };
        let gone = tokio::time::timeout(Duration::from_secs(60), gone).await;
        gone.unwrap_or_else(|_| panic!("the log still exists in round {round}"));
    }
}

/// A store that writes all the time must not starve another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writers_do_not_starve_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let stores = [open(&path).await, open(&path).await];
    let uses = |node: usize| {
        let store = stores[node].clone();
        async move {
            let mut won = 0;
            for number in 0..300 {
                let use_ = Use::new(
                    token(number),
                    UseId::from_bytes([node as u8; 16]),
                    NonZeroU32::MIN,
                    None,
                );
                let outcome = store.take_use(&use_, UnixTime::EPOCH).await.unwrap();
                won += u64::from(matches!(outcome, UseOutcome::Taken { .. }));
            }
            won
        }
    };
    let nodes = [tokio::spawn(uses(0)), tokio::spawn(uses(1))];
    let mut won = 0;
    for node in nodes {
        won += node.await.unwrap();
    }
    assert_eq!(won, 300, "each use has one winner");
}

/// The lock is held as by a process that was stopped in the middle of a transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_file_is_waited_for_no_longer_than_the_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let within = Duration::from_secs(1);
    let builder = SqliteStore::builder(&path).request_timeout(within);
    let store = builder.open().await.unwrap();
    while store.revoke(&[end_of(1)]).await.is_err() {}
    let mut other = file::options(&path).connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let rejected = store.revoke(&[end_of(2)]).await;
    assert!(matches!(rejected, Err(StoreError::TimedOut(time)) if time == within));
    let rejected = store.purge(UnixTime::from_secs(1)).await;
    assert!(matches!(rejected, Err(StoreError::TimedOut(time)) if time == within));
    // Reads don't wait for writes.
    let keys = [1, 2].map(|number| KeyDigest::of_token(token(number)));
    let listed = store.look_up(&keys).await.unwrap();
    assert!(listed[0].is_some() && listed[1].is_none());
    other.execute("ROLLBACK").await.unwrap();
    other.close().await.unwrap();
    while store.revoke(&[end_of(2)]).await.is_err() {}
    assert!(store.look_up(&keys).await.unwrap()[1].is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_pages_fail_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let store = open(&path).await;
    let many: Vec<_> = (0..2_000).map(end_of).collect();
    store.revoke(&many).await.unwrap();
    drop(store);
    closed(&path).await;
    let store = open(&path).await;
    // Overwrites everything but the first pages, which hold the schema.
    let mut bytes = fs::read(&path).unwrap();
    bytes[16 * 4_096..].fill(0xA5);
    fs::write(&path, bytes).unwrap();
    let mut failed = 0;
    for number in 0..2_000 {
        let keys = [KeyDigest::of_token(token(number))];
        match store.look_up(&keys).await {
            Ok(listed) => assert!(listed[0].is_some(), "a revoked token was accepted"),
            Err(StoreError::Unavailable(_)) => failed += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(failed > 0, "the damage was hit");
}
