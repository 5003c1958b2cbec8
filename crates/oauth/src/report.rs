//! What goes to the log, seldom enough to be read.

use tower_revoke_core::{
    Clock,
    internal::{LogLimit, OutageLog},
};

use crate::answer::{Failure, Verdict};

/// Writes neither a token, nor a credential, nor anything of an answer but its status and the
/// RFCs' error codes.
#[derive(Debug)]
pub(crate) struct Report {
    server: String,
    rejected: LogLimit,
    /// What a person must mend.
    alerts: OutageLog,
    failures: OutageLog,
    given_up: LogLimit,
}

impl Report {
    pub(crate) fn new(server: String) -> Self {
        Self {
            server,
            rejected: LogLimit::default(),
            alerts: OutageLog::default(),
            failures: OutageLog::default(),
            given_up: LogLimit::default(),
        }
    }

    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn verdict(&self, verdict: Verdict, clock: &Clock) {
        let (server, uptime) = (&self.server, clock.uptime());
        if let Verdict::Failed(failure, _) = verdict {
            if failure.needs_operator() {
                if let Some(count) = self.alerts.failed(uptime) {
                    alert(server, failure, count);
                }
            } else if let Some(count) = self.failures.failed(uptime) {
                tracing::warn!(%server, ?failure, count, "the authorization server is not told yet");
            }
            return;
        }
        // Both are asked, for one line.
        if self.alerts.works() | self.failures.works() {
            tracing::info!(%server, "the authorization server answers again");
        }
        if let Verdict::Rejected(code) = verdict
            && let Some(count) = self.rejected.count(uptime, 1)
        {
            let code = code.unwrap_or("unknown");
            tracing::warn!(
                %server, code, count,
                "the authorization server rejects for good to revoke; the tokens are spent here"
            );
        }
    }

    pub(crate) fn given_up(&self, count: u64, clock: &Clock) {
        if let Some(count) = self.given_up.count(clock.uptime(), count) {
            let server = &self.server;
            tracing::error!(%server, count, "gave up telling the authorization server of tokens");
        }
    }
}

fn alert(server: &str, failure: Failure, count: u64) {
    match failure {
        Failure::Credentials => tracing::error!(
            %server, count,
            "the authorization server rejects this client's credentials; tokens wait for new ones"
        ),
        _ => tracing::error!(
            %server, ?failure, count,
            "this is no revocation endpoint, or it has moved; tokens wait until that is mended"
        ),
    }
}
