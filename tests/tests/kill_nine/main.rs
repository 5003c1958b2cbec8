//! Kills a program that writes to an embedded store, at random points and over the same file: every
//! acknowledged write must be there, and the file must open.

#![expect(
    clippy::print_stdout,
    reason = "the seed and what was acknowledged are printed"
)]

mod rounds;

use std::time::Duration;

use tower_revoke_store_redb::RedbStore;
use tower_revoke_store_sql::SqliteStore;

#[tokio::test]
async fn redb_keeps_every_acknowledged_write() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let file = folder.path().join("revocations.redb");
    let open = async || {
        // A slow disk must not fail the test.
        let builder = RedbStore::builder(&file).request_timeout(Duration::from_secs(600));
        builder.open().expect("the file opens")
    };
    // More uses than the store stages, so that it moves a few to their tables with each write.
    rounds::survives("redb", &file, 70_000, open).await;
}

#[tokio::test]
async fn sqlite_keeps_every_acknowledged_write() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let file = folder.path().join("revocations.sqlite");
    let open = async || {
        // A slow disk must not fail the test.
        let builder = SqliteStore::builder(&file).request_timeout(Duration::from_secs(600));
        builder.open().await.expect("the file opens")
    };
    rounds::survives("sqlite", &file, 0, open).await;
}
