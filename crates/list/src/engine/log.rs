//! What of the store's failures is logged, and how often.

use tower_revoke_core::internal::{LogLimit, OutageLog};

/// The kinds of lines that a store which fails, or forgets, would fill the log with.
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
    /// Entries that the feed didn't tell of.
    pub(super) said_again: LogLimit,
    /// Uses that were taken twice.
    pub(super) won_again: LogLimit,
}
