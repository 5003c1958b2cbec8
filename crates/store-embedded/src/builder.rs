//! The settings of a store.

use std::{path::PathBuf, time::Duration};

use tower_revoke_core::{Clock, request_timeout};

use crate::{
    EmbeddedStore, EmbeddedStoreError,
    folder::Folder,
    shared::{FeedLimits, Shared},
    threads::Threads,
};

/// Configures an [`EmbeddedStore`]. Made by [`EmbeddedStore::builder`].
///
/// | setting | default |
/// |---|---|
/// | [`request_timeout`](Self::request_timeout) | 2 s |
/// | [`cache_bytes`](Self::cache_bytes) | 64 MiB |
/// | [`feed_capacity`](Self::feed_capacity) | 100,000 |
/// | [`feed_retention`](Self::feed_retention) | 10 min |
/// | [`clock`](Self::clock) | the system clock |
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use tower_revoke_store_embedded::EmbeddedStore;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("revocations");
/// let store = EmbeddedStore::builder(path)
///     .cache_bytes(256 << 20)
///     .feed_capacity(1_000_000)
///     .request_timeout(Duration::from_secs(5))
///     .open()?;
/// # drop(store);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct EmbeddedStoreBuilder {
    path: PathBuf,
    clock: Clock,
    request_timeout: Duration,
    cache_bytes: u64,
    feed: FeedLimits,
}

impl EmbeddedStoreBuilder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            clock: Clock::system(),
            request_timeout: request_timeout::DEFAULT,
            cache_bytes: 64 << 20,
            feed: FeedLimits {
                capacity: 100_000,
                retention: Duration::from_secs(600),
            },
        }
    }

    /// Sets how long a call may wait for the disk. At most a day. Defaults to 2 s.
    ///
    /// A call that takes longer fails with
    /// [`StoreError::TimedOut`](tower_revoke_core::StoreError::TimedOut), and may still take
    /// effect. The timeout needs a tokio runtime with its timer enabled: outside of a runtime a
    /// call waits as long as the disk does. `purge` has no timeout.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets how many bytes of the rows are cached in memory at most, in addition to the page cache
    /// of the operating system. Defaults to 64 MiB.
    ///
    /// Writes that are not yet in the tree take at most another 64 MiB.
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Sets how many changes the feed keeps, at about 40 bytes each. Defaults to 100,000.
    ///
    /// A follower that falls further behind has to load everything again. Changes that were written
    /// together are removed together, and the last ones are always kept.
    pub fn feed_capacity(mut self, changes: u64) -> Self {
        self.feed.capacity = changes;
        self
    }

    /// Sets how long the feed keeps changes, within its capacity. Defaults to 10 minutes.
    pub fn feed_retention(mut self, retention: Duration) -> Self {
        self.feed.retention = retention;
        self
    }

    /// Sets the clock by which entries expire and changes of the feed age. Defaults to the system
    /// clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the folder, or creates it. The folder around it must exist.
    ///
    /// Blocks for some milliseconds, and after a crash under load for up to a second.
    ///
    /// # Errors
    /// See [`EmbeddedStoreError`].
    pub fn open(self) -> Result<EmbeddedStore, EmbeddedStoreError> {
        request_timeout::check(self.request_timeout)?;
        let opened = Folder::begin(self.path.clone(), self.cache_bytes)
            .and_then(|folder| Shared::open(folder, self.clock, self.feed))
            .and_then(|shared| Ok((Threads::start(&shared)?, shared)));
        let (threads, shared) = opened.map_err(|fault| fault.of_folder(&self.path))?;
        Ok(EmbeddedStore::new(shared, threads, self.request_timeout))
    }
}
