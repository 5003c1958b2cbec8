//! Why a list can't work as it is configured.

use std::time::Duration;

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
}
