//! Why a list can't work as it is configured.

use std::{path::PathBuf, time::Duration};

/// The setting of a [`RevocationListBuilder`](crate::RevocationListBuilder) that can't work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationListError {
    /// [`max_staleness`](crate::RevocationListBuilder::max_staleness) bounds nothing.
    #[error("max_staleness is {0:?}, but must be at most one day")]
    MaxStaleness(Duration),
    /// Within this [`store_timeout`](crate::RevocationListBuilder::store_timeout) no store answers, or
    /// requests wait for one that is down.
    #[error("store_timeout is {0:?}, but must be between 1 ms and 5 minutes")]
    StoreTimeout(Duration),
    /// A [`mirror_capacity`](crate::RevocationListBuilder::mirror_capacity) was set for a store
    /// without a feed.
    #[error("mirror_capacity is {0}, but the store has no feed to mirror: it must be 0 or unset")]
    MirrorWithoutFeed(u64),
    /// A [`mirror_capacity`](crate::RevocationListBuilder::mirror_capacity) was set, but nothing may
    /// be answered from memory.
    #[error("mirror_capacity is {0}, but max_staleness is zero: one of the two must change")]
    MirrorNeverFresh(u64),
    /// No token lives for less than this
    /// [`max_token_life`](crate::RevocationListBuilder::max_token_life).
    #[error("max_token_life is {0:?}, but must be at least 1 s")]
    MaxTokenLife(Duration),
    /// A [`snapshot`](crate::RevocationListBuilder::snapshot) was set, but the list has no mirror.
    #[error(
        "a snapshot is set, but there is no mirror: it needs a store with a feed outside of this \
         process, and a mirror_capacity and a max_staleness above zero"
    )]
    SnapshotWithoutMirror,
    /// The [`interval`](crate::MirrorSnapshot::interval) of a snapshot is too short.
    #[error("the interval of the snapshot is {0:?}, but must be at least 1 s")]
    SnapshotInterval(Duration),
    /// The folder of the [`snapshot`](crate::RevocationListBuilder::snapshot) doesn't exist.
    #[error("the folder of the snapshot is {0:?}, but there is no such folder")]
    SnapshotFolder(PathBuf),
}
