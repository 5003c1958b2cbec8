//! The log of rejections, and the count of those that were not enforced.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use http::StatusCode;

use super::{Reason, Rejection};
use crate::{Clock, internal::LogLimit};

/// Logs rejections that are the server's fault once a minute and reason, with a count, since an outage
/// rejects every request. Logs all others at `DEBUG`.
#[derive(Debug, Default)]
pub(super) struct RejectionLog {
    clock: Clock,
    // Both are keyed by the reason's label, so bounded by the number of reasons.
    limits: Mutex<BTreeMap<&'static str, LogLimit>>,
    not_enforced: Mutex<BTreeMap<&'static str, u64>>,
}

impl RejectionLog {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            ..Self::default()
        }
    }

    pub(super) fn rejected(&self, rejection: &Rejection) {
        let reason = rejection.reason().label();
        let token = rejection.token_id().map(tracing::field::display);
        let source = std::error::Error::source(rejection);
        match (rejection.reason().status(), self.due(rejection)) {
            (StatusCode::INTERNAL_SERVER_ERROR, Some(count)) => {
                tracing::error!(
                    target: "tower_revoke::core",
                    reason,
                    token,
                    source,
                    count,
                    "{rejection}"
                );
            }
            (_, Some(count)) => tracing::warn!(
                target: "tower_revoke::core",
                reason,
                token,
                source,
                count,
                "{rejection}"
            ),
            (_, None) => tracing::debug!(
                target: "tower_revoke::core",
                reason,
                token,
                source,
                "{rejection}"
            ),
        }
    }

    /// Logs and counts a request that passed only because its layer observes. What is the caller's
    /// fault is logged each time: that is what one observes for.
    pub(super) fn observed(&self, rejection: &Rejection) {
        self.count_not_enforced(rejection);
        let reason = rejection.reason().label();
        let token = rejection.token_id().map(tracing::field::display);
        let source = std::error::Error::source(rejection);
        match self.due(rejection) {
            None if is_fault(rejection) => {
                tracing::debug!(
                    target: "tower_revoke::core",
                    reason,
                    token,
                    source,
                    "would be rejected: {rejection}"
                );
            }
            count => tracing::info!(
                target: "tower_revoke::core",
                reason,
                token,
                source,
                count,
                "would be rejected: {rejection}"
            ),
        }
    }

    /// Logs and counts a request that passed although the list can't say whether its token was revoked.
    pub(super) fn admitted(&self, rejection: &Rejection) {
        self.count_not_enforced(rejection);
        let token = rejection.token_id().map(tracing::field::display);
        let source = std::error::Error::source(rejection);
        match self.due(rejection) {
            Some(count) => tracing::warn!(
                target: "tower_revoke::core",
                token,
                source,
                count,
                "admitted without the revocation list, which can't answer"
            ),
            None => tracing::debug!(
                target: "tower_revoke::core",
                token,
                source,
                "admitted without the revocation list"
            ),
        }
    }

    /// Returns how many requests passed that would have been rejected, by the reason's label.
    pub(super) fn not_enforced(&self) -> BTreeMap<&'static str, u64> {
        let counts = self.not_enforced.lock();
        counts.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count_not_enforced(&self, rejection: &Rejection) {
        let counts = self.not_enforced.lock();
        let mut counts = counts.unwrap_or_else(PoisonError::into_inner);
        *counts.entry(rejection.reason().label()).or_default() += 1;
    }

    /// Returns how many there were since the last line, if a line is due.
    fn due(&self, rejection: &Rejection) -> Option<u64> {
        if !is_fault(rejection) {
            return None;
        }
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = limits.entry(rejection.reason().label()).or_default();
        limit.count(self.clock.uptime(), 1)
    }
}

/// The version of a request is its client's.
fn is_fault(rejection: &Rejection) -> bool {
    let reason = rejection.reason();
    reason != Reason::HttpVersion && reason.status().is_server_error()
}
