//! What goes to the log, seldom enough to be read.

use std::time::Duration;

use tower_revoke_core::Clock;

use crate::answer::{Failure, Verdict};

/// Between two lines of a kind.
const AT_MOST_EVERY: Duration = Duration::from_secs(60);

/// One kind of line; what is not said is counted.
#[derive(Debug, Default)]
struct Seldom {
    next: Duration,
    since_the_last: u64,
}

impl Seldom {
    /// How many there were since the last line, if it is time for one.
    fn now(&mut self, uptime: Duration, more: u64) -> Option<u64> {
        self.since_the_last += more;
        if uptime < self.next || self.since_the_last == 0 {
            return None;
        }
        self.next = uptime + AT_MOST_EVERY;
        Some(std::mem::take(&mut self.since_the_last))
    }
}

/// Writes neither a token, nor a credential, nor anything of an answer but its status and the
/// RFCs' error codes.
#[derive(Debug)]
pub(crate) struct Report {
    server: String,
    refused: Seldom,
    alerts: Seldom,
    failures: Seldom,
    given_up: Seldom,
    is_failing: bool,
}

impl Report {
    pub(crate) fn new(server: String) -> Self {
        Self {
            server,
            refused: Seldom::default(),
            alerts: Seldom::default(),
            failures: Seldom::default(),
            given_up: Seldom::default(),
            is_failing: false,
        }
    }

    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn verdict(&mut self, verdict: Verdict, clock: &Clock) {
        let (server, uptime) = (&self.server, clock.uptime());
        if let Verdict::Failed(failure, _) = verdict {
            self.is_failing = true;
            if failure.needs_a_person() {
                if let Some(count) = self.alerts.now(uptime, 1) {
                    alert(server, failure, count);
                }
            } else if let Some(count) = self.failures.now(uptime, 1) {
                tracing::warn!(%server, ?failure, count, "the authorization server is not told yet");
            }
            return;
        }
        if std::mem::take(&mut self.is_failing) {
            tracing::info!(%server, "the authorization server answers again");
        }
        if let Verdict::Refused(code) = verdict
            && let Some(count) = self.refused.now(uptime, 1)
        {
            let code = code.unwrap_or("unknown");
            tracing::warn!(
                %server, code, count,
                "the authorization server refuses for good to revoke; the tokens are spent here"
            );
        }
    }

    pub(crate) fn given_up(&mut self, count: u64, clock: &Clock) {
        if let Some(count) = self.given_up.now(clock.uptime(), count) {
            let server = &self.server;
            tracing::error!(%server, count, "gave up telling the authorization server of tokens");
        }
    }
}

fn alert(server: &str, failure: Failure, count: u64) {
    match failure {
        Failure::Credentials => tracing::error!(
            %server, count,
            "the authorization server refuses this client's credentials; tokens wait for new ones"
        ),
        _ => tracing::error!(
            %server, ?failure, count,
            "this is no revocation endpoint, or it has moved; tokens wait until that is mended"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_minute_says_how_many_there_were() {
        let mut line = Seldom::default();
        let secs = Duration::from_secs;
        assert_eq!(line.now(secs(0), 1), Some(1));
        assert_eq!(line.now(secs(1), 1), None);
        assert_eq!(line.now(secs(59), 3), None);
        assert_eq!(line.now(secs(60), 1), Some(5));
        assert_eq!(line.now(secs(500), 0), None);
        assert_eq!(line.now(secs(500), 1), Some(1));
    }
}
