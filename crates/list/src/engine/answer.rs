//! What the cache keeps about a token.

use std::time::Duration;

use tower_revoke_core::TokenStatus;

#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: TokenStatus,
    /// `None` for what was not asked but done here: it is known, but does not count as an answer.
    pub(super) asked: Option<Asked>,
}

/// What was read before the store was asked, in this order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) at: Duration,
    pub(super) version: u64,
}
