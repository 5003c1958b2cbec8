//! What many live revocations take in each store, and how long a node loads them.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use tower_revoke::{Clock, Revocation, RevocationList, TokenId, core::Store};

use super::LIFE;
use crate::rounds::Outcome;

/// How many are written in one call.
const BATCH: u64 = 1_000;

/// Writes revocations of tokens, then loads them with a list. Prints how long both take, and the
/// bytes that the store needs for one.
pub(super) async fn measure(
    name: &str,
    store: impl Store,
    count: u64,
    bytes: impl AsyncFn() -> Outcome<u64>,
) -> Outcome<()> {
    let said = |error: &dyn std::error::Error| error.to_string();
    let exp = Clock::system().now().saturating_add(LIFE);
    let before = bytes().await?;
    let started = Instant::now();
    for first in (0..count).step_by(BATCH as usize) {
        let numbers = first..count.min(first + BATCH);
        let batch: Vec<_> = numbers
            .map(|number| {
                let token = TokenId::of_jwt("benches", &number.to_string());
                Revocation::of_token(token, Some(exp)).at(Clock::system().now())
            })
            .collect();
        store.revoke(&batch).await.map_err(|error| said(&error))?;
    }
    let written = started.elapsed();
    let each = (bytes().await? - before) / count;
    let list = RevocationList::builder(store)
        .mirror_capacity(2 * count)
        .store_timeout(Duration::from_secs(300));
    let list = list.build().map_err(|error| said(&error))?;
    let started = Instant::now();
    list.ready().await.map_err(|error| said(&error))?;
    println!(
        "  {name}: {count} revocations, written in {:.1} s, {each} bytes each, loaded in {:.1} s",
        written.as_secs_f64(),
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// How many nodes follow one store while nothing changes, and for how long they are watched.
const FOLLOWERS: usize = 50;
const WATCHED: Duration = Duration::from_secs(4);

/// Prints how often idle followers ask their store, by a count of the server's.
pub(super) async fn idle<S: Store>(
    name: &str,
    open: impl AsyncFn() -> Outcome<S>,
    asked: impl AsyncFn() -> Outcome<u64>,
) -> Outcome<()> {
    for max_staleness in [5, 2, 1].map(Duration::from_secs) {
        let mut lists = Vec::new();
        for _ in 0..FOLLOWERS {
            let list = RevocationList::builder(open().await?).max_staleness(max_staleness);
            let list = list.build().map_err(|error| error.to_string())?;
            list.ready().await.map_err(|error| error.to_string())?;
            lists.push(list);
        }
        // The count of a server may lag behind by a second.
        tokio::time::sleep(WATCHED / 2).await;
        let (started, before) = (Instant::now(), asked().await?);
        tokio::time::sleep(WATCHED).await;
        let each = (asked().await? - before) as f64 / started.elapsed().as_secs_f64();
        println!(
            "  {name}: {FOLLOWERS} idle nodes with a max_staleness of {max_staleness:?} ask \
             {each:.0} times a second in all"
        );
    }
    Ok(())
}

/// Returns the size of all files in a folder.
pub(super) fn folder_size(folder: &Path) -> Outcome<u64> {
    fn size(folder: &Path) -> io::Result<u64> {
        let mut sum = 0;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            sum += match metadata.is_dir() {
                true => size(&entry.path())?,
                false => metadata.len(),
            };
        }
        Ok(sum)
    }
    size(folder).map_err(|error| format!("{}: {error}", folder.display()))
}
