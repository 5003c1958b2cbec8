//! Rate limits for the log lines about a store.

use tower_revoke_core::internal::{LogLimit, OutageLog};

/// One limit for each kind of line with which a failing store could flood the log.
#[derive(Debug, Default)]
pub(super) struct EngineLog {
    /// Whether the store answers.
    pub(super) store: OutageLog,
    /// Whether its feed can be followed.
    pub(super) feed: OutageLog,
    pub(super) reloads: LogLimit,
    pub(super) prolonged: LogLimit,
    pub(super) histories: LogLimit,
    pub(super) written_back: LogLimit,
    pub(super) not_written_back: LogLimit,
    /// Acknowledged writes that were missing from the feed.
    pub(super) said_again: LogLimit,
    /// Lost uses that were taken a second time.
    pub(super) won_again: LogLimit,
}
