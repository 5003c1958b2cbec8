//! A cached answer about one token.

use std::time::Duration;

use tower_revoke_core::TokenStatus;

#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: TokenStatus,
    /// `None` for the result of a local write. It is used only for as long as the store can't
    /// answer.
    pub(super) asked: Option<Asked>,
}

/// The uptime and the version that were read before the look-up, in this order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) at: Duration,
    pub(super) version: u64,
}
