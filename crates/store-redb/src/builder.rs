//! How a store is put together.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tower_revoke_core::Clock;

use crate::{
    RedbStore, RedbStoreError, disk::Health, file::Place, shared::Shared, staged, threads::Threads,
};

/// Puts a [`RedbStore`] together; made by [`RedbStore::builder`].
///
/// ```
/// use std::time::Duration;
/// use tower_revoke_store_redb::RedbStore;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("revocations.redb");
/// let store = RedbStore::builder(path)
///     .cache_bytes(256 << 20)
///     .feed_capacity(1_000_000)
///     .request_timeout(Duration::from_secs(5))
///     .open()?;
/// # drop(store);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct RedbStoreBuilder {
    path: PathBuf,
    clock: Clock,
    request_timeout: Duration,
    cache_bytes: usize,
    feed_capacity: u64,
    feed_retention: Duration,
    gathered: usize,
}

impl RedbStoreBuilder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            clock: Clock::system(),
            request_timeout: Duration::from_secs(2),
            cache_bytes: 64 << 20,
            feed_capacity: 100_000,
            feed_retention: Duration::from_secs(86_400),
            gathered: staged::GATHERED,
        }
    }

    /// How long one call waits for the disk: 2 s unless this is called. Then it fails with
    /// [`StoreError::TimedOut`](tower_revoke_core::StoreError::TimedOut), and what was asked may
    /// still happen. By tokio's timer, which the runtime must have enabled; outside of a runtime
    /// a call waits as long as the disk does. `purge` and `compact` are not bound to it.
    pub fn request_timeout(mut self, time: Duration) -> Self {
        self.request_timeout = time;
        self
    }

    /// How much of the file is kept in memory at most: 64 MiB unless this is called. The system
    /// keeps more of it, in memory that is free.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// How many of the last changes are kept for
    /// [`Store::changes`](tower_revoke_core::Store::changes): 100,000 unless this is called, in
    /// about 60 bytes each. Who falls behind further loads all again.
    pub fn feed_capacity(mut self, changes: u64) -> Self {
        self.feed_capacity = changes;
        self
    }

    /// For how long changes are kept, if there are not too many: a day unless this is called.
    pub fn feed_retention(mut self, time: Duration) -> Self {
        self.feed_retention = time;
        self
    }

    /// Where the time comes from: the machine unless this is called.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How many uses are staged before they are moved.
    #[cfg(test)]
    pub(crate) fn gathered(mut self, uses: usize) -> Self {
        self.gathered = uses;
        self
    }

    /// Opens the file, or creates it. The folder must be there.
    ///
    /// Blocks: some milliseconds, or up to 0.1 s where very many uses were made of late; after a
    /// crash, while the whole file is checked, about half a second for a million entries.
    ///
    /// # Errors
    /// It says which, and [`RedbStoreError`] what to do.
    pub fn open(self) -> Result<RedbStore, RedbStoreError> {
        let place = Place {
            path: self.path.clone(),
            cache_bytes: self.cache_bytes,
            health: Arc::new(Health::default()),
        };
        let failed = |error: tower_revoke_core::BoxError| RedbStoreError::Io {
            path: self.path.clone(),
            source: error,
        };
        let (db, identity) = place.begin()?;
        let kept = (self.feed_capacity, self.feed_retention);
        let shared = Shared::new(place, self.clock, db, identity, kept, self.gathered);
        let shared = Arc::new(shared.map_err(|fault| failed(fault.into()))?);
        let threads = Threads::start(&shared).map_err(|error| failed(error.into()))?;
        Ok(RedbStore::new(shared, threads, self.request_timeout))
    }
}
