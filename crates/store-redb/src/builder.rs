//! The settings of a store.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tower_revoke_core::{Clock, request_timeout};

use crate::{
    RedbStore, RedbStoreError, disk::Health, file::Place, shared::Shared, staged, threads::Threads,
};

/// Configures a [`RedbStore`]. Made by [`RedbStore::builder`].
///
/// | setting | default |
/// |---|---|
/// | [`request_timeout`](Self::request_timeout) | 2 s |
/// | [`cache_bytes`](Self::cache_bytes) | 64 MiB |
/// | [`feed_capacity`](Self::feed_capacity) | 100,000 |
/// | [`feed_retention`](Self::feed_retention) | 1 day |
/// | [`clock`](Self::clock) | the system clock |
///
/// # Examples
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
            request_timeout: request_timeout::DEFAULT,
            cache_bytes: 64 << 20,
            feed_capacity: 100_000,
            feed_retention: Duration::from_secs(86_400),
            gathered: staged::GATHERED,
        }
    }

    /// Sets how long a call may wait for the disk. At most a day. Defaults to 2 s.
    ///
    /// A call that takes longer fails with
    /// [`StoreError::TimedOut`](tower_revoke_core::StoreError::TimedOut), and may still take
    /// effect. The timeout needs a tokio runtime with its timer enabled: outside of a runtime a
    /// call waits as long as the disk does. `purge` and `compact` have no timeout.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets how many bytes of the file are cached in memory at most, in addition to the page cache
    /// of the operating system. Defaults to 64 MiB.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Sets how many changes the feed keeps, at about 60 bytes each. Defaults to 100,000.
    ///
    /// A follower that falls further behind has to load everything again.
    pub fn feed_capacity(mut self, changes: u64) -> Self {
        self.feed_capacity = changes;
        self
    }

    /// Sets how long the feed keeps changes, within its capacity. Defaults to one day.
    pub fn feed_retention(mut self, retention: Duration) -> Self {
        self.feed_retention = retention;
        self
    }

    /// Sets the clock by which entries expire and changes of the feed age. Defaults to the system
    /// clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets how many uses are gathered before they are moved.
    #[cfg(test)]
    pub(crate) fn gathered(mut self, uses: usize) -> Self {
        self.gathered = uses;
        self
    }

    /// Opens the file, or creates it. Its folder must exist.
    ///
    /// Blocks for some milliseconds, and for up to 0.1 s if many uses are staged. After a crash it
    /// first checks the whole file, which takes about half a second per million entries.
    ///
    /// # Errors
    /// See [`RedbStoreError`].
    pub fn open(self) -> Result<RedbStore, RedbStoreError> {
        request_timeout::check(self.request_timeout)?;
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
