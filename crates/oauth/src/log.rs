//! What is logged, and how often.

use tower_revoke_core::{
    Clock,
    internal::{LogLimit, OutageLog},
};

use crate::response::{Delivery, DeliveryFailure};

/// Writes no token, no credentials, and nothing of a response but its status and registered error
/// code.
#[derive(Debug)]
pub(crate) struct DeliveryLog {
    host: String,
    rejections: LogLimit,
    /// Failures that need an operator.
    alerts: OutageLog,
    failures: OutageLog,
    abandoned: LogLimit,
}

impl DeliveryLog {
    pub(crate) fn new(host: String) -> Self {
        Self {
            host,
            rejections: LogLimit::default(),
            alerts: OutageLog::default(),
            failures: OutageLog::default(),
            abandoned: LogLimit::default(),
        }
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn delivery(&self, delivery: Delivery, clock: &Clock) {
        let (host, uptime) = (&self.host, clock.uptime());
        if let Delivery::Failed(failure, _) = delivery {
            if failure.needs_operator() {
                if let Some(count) = self.alerts.failed(uptime) {
                    alert(host, failure, count);
                }
            } else if let Some(count) = self.failures.failed(uptime) {
                tracing::warn!(%host, ?failure, count, "tokens can't be revoked at the authorization server yet");
            }
            return;
        }
        // Both outages end, with one line.
        if self.alerts.works() | self.failures.works() {
            tracing::info!(%host, "the authorization server revokes tokens again");
        }
        if let Delivery::Rejected(code) = delivery
            && let Some(count) = self.rejections.count(uptime, 1)
        {
            let code = code.unwrap_or("unknown");
            tracing::warn!(
                %host, code, count,
                "the authorization server rejects the revocation of tokens, which is not retried; \
                 they stay revoked here"
            );
        }
    }

    pub(crate) fn abandoned(&self, count: u64, clock: &Clock) {
        if let Some(count) = self.abandoned.count(clock.uptime(), count) {
            let host = &self.host;
            tracing::error!(
                %host, count,
                "tokens could not be revoked at the authorization server in time, and are dropped from the queue"
            );
        }
    }
}

fn alert(host: &str, failure: DeliveryFailure, count: u64) {
    match failure {
        DeliveryFailure::Credentials => tracing::error!(
            %host, count,
            "the authorization server rejects the client credentials; tokens stay queued until they are replaced"
        ),
        _ => tracing::error!(
            %host, ?failure, count,
            "the URL is not that of a revocation endpoint, or it has moved; tokens stay queued until it is corrected"
        ),
    }
}
