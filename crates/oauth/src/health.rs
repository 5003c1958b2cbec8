//! The health of the queue to an authorization server, for operators.

use tower_revoke_core::{HealthCheck, HealthSource, HealthStatus};

use crate::RevocationClient;

/// The check `revocations`, of the issuer or the host of the endpoint that the client was built with.
impl HealthSource for RevocationClient {
    fn health(&self) -> Vec<HealthCheck> {
        let stats = self.stats();
        let (status, why) = match stats.failing_since {
            _ if stats.needs_operator => (
                HealthStatus::Fail,
                "the server rejects the credentials or the call",
            ),
            Some(_) => (HealthStatus::Warn, "the server does not answer"),
            None if stats.unreadable > 0 => (
                HealthStatus::Warn,
                "the outbox has tokens that need another key",
            ),
            None => (HealthStatus::Pass, "no failure"),
        };
        let output = format!("{} queued; {why}", stats.queued);
        let check = HealthCheck::new("revocations", status, output);
        vec![check.of(self.server()).since(stats.failing_since)]
    }
}
