//! The log of rejections.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use http::StatusCode;

use super::Rejection;
use crate::{Clock, internal::LogLimit};

/// Logs rejections that are the server's fault once a minute and reason, with a count, since an outage
/// rejects every request. Logs all others at `DEBUG`.
#[derive(Debug, Default)]
pub(super) struct RejectionLog {
    clock: Clock,
    // Keyed by the reason's label, so bounded by the number of reasons.
    limits: Mutex<BTreeMap<&'static str, LogLimit>>,
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
                tracing::error!(reason, token, source, count, "{rejection}");
            }
            (_, Some(count)) => tracing::warn!(reason, token, source, count, "{rejection}"),
            (_, None) => tracing::debug!(reason, token, source, "{rejection}"),
        }
    }

    /// Logs a request that passed only because its layer observes. What is the caller's fault is
    /// logged each time: that is what one observes for.
    pub(super) fn not_enforced(&self, rejection: &Rejection) {
        let reason = rejection.reason().label();
        let token = rejection.token_id().map(tracing::field::display);
        let source = std::error::Error::source(rejection);
        match self.due(rejection) {
            None if is_fault(rejection) => {
                tracing::debug!(reason, token, source, "would be rejected: {rejection}");
            }
            count => tracing::info!(
                reason,
                token,
                source,
                count,
                "would be rejected: {rejection}"
            ),
        }
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

fn is_fault(rejection: &Rejection) -> bool {
    rejection.reason().status().is_server_error()
}
