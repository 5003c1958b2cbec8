//! Kills programs that write to an embedded store, at random points and over the same files: every
//! acknowledged write must be there, and the store must open.

#![expect(
    clippy::print_stdout,
    reason = "the seed and what was acknowledged are printed"
)]

mod endpoint;
mod owed;
mod rounds;

use std::time::Duration;

use tower_revoke_store_embedded::EmbeddedStore;
use tower_revoke_store_sql::SqliteStore;

#[tokio::test]
async fn the_embedded_store_keeps_every_acknowledged_write() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let path = folder.path().join("revocations");
    let open = async || {
        // A slow disk must not fail the test.
        let builder = EmbeddedStore::builder(&path).request_timeout(Duration::from_secs(600));
        builder.open().expect("the folder opens")
    };
    rounds::survives("embedded", &path, 20_000, open).await;
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
