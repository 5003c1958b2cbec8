//! What is logged, and how often.

use tower_revoke_core::{
    Clock, OutboxError,
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
                tracing::warn!(
                    target: "tower_revoke::oauth",
                    %host,
                    ?failure,
                    count,
                    "tokens can't be revoked at the authorization server yet"
                );
            }
            return;
        }
        if delivery == Delivery::Abandoned {
            return self.abandoned(clock);
        }
        // Both outages end, with one line.
        if self.alerts.works() | self.failures.works() {
            tracing::info!(
                target: "tower_revoke::oauth",
                %host,
                "the authorization server revokes tokens again"
            );
        }
        if let Delivery::Rejected(code) = delivery
            && let Some(count) = self.rejections.count(uptime, 1)
        {
            let code = code.unwrap_or("unknown");
            tracing::warn!(
                target: "tower_revoke::oauth",
                %host, code, count,
                "the authorization server rejects the revocation of tokens, which is not retried; \
                 they stay revoked here"
            );
        }
    }

    fn abandoned(&self, clock: &Clock) {
        if let Some(count) = self.abandoned.count(clock.uptime(), 1) {
            let host = &self.host;
            tracing::error!(
                target: "tower_revoke::oauth",
                %host, count,
                "tokens could not be revoked at the authorization server in time, and are dropped from the queue"
            );
        }
    }

    pub(crate) fn unreadable(&self, count: usize, error: &OutboxError) {
        let (host, error) = (&self.host, error as &dyn std::error::Error);
        tracing::error!(
            target: "tower_revoke::oauth",
            %host, error, count,
            "revocations that are owed to the authorization server can't be read, and are not sent"
        );
    }
}

fn alert(host: &str, failure: DeliveryFailure, count: u64) {
    match failure {
        DeliveryFailure::Credentials => tracing::error!(
            target: "tower_revoke::oauth",
            %host, count,
            "the authorization server rejects the client credentials; tokens stay queued until they are replaced"
        ),
        _ => tracing::error!(
            target: "tower_revoke::oauth",
            %host, ?failure, count,
            "the URL is not that of a revocation endpoint, or it has moved; tokens stay queued until it is corrected"
        ),
    }
}
