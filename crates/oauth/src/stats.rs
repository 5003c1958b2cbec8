//! What can be seen of the work from outside.

use tower_revoke_core::UnixTime;

use crate::answer::Failure;

/// How it stands with the authorization server. The counts are since the server was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevocationClientStats {
    /// Calls that hold a place for a token that has not ended yet. Those of one token share it.
    pub reserved: usize,
    /// Tokens that the server is still to be told of, those in flight among them.
    pub queued: usize,
    /// Tokens that the server was told of: it answered with a 2xx.
    pub delivered: u64,
    /// Tokens that it rejected for good, with a 400. They are spent here all the same.
    pub rejected: u64,
    /// Tokens that were too long in the queue.
    pub given_up: u64,
    /// Since when each try has failed; `None` while the server answers.
    pub failing_since: Option<UnixTime>,
    /// Why the last try that failed did.
    pub last_failure: Option<Failure>,
    /// The code of its last rejection, if it was one of RFC 6749 §5.2 or RFC 7009 §2.2.1.
    pub last_rejection: Option<&'static str>,
    /// Nothing gets through until somebody mends the credentials or the endpoint: alert on it.
    pub needs_operator: bool,
}

/// What was done in a [`drain`](crate::RevocationClient::drain).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "tokens may be left that the server was not told of"]
pub struct ShutdownReport {
    /// Tokens that the server was told of meanwhile.
    pub delivered: u64,
    /// Tokens that it rejected for good meanwhile.
    pub rejected: u64,
    /// Tokens that had waited too long, and were given up meanwhile.
    pub given_up: u64,
    /// Tokens that it was not told of. They end with this process.
    pub left: usize,
    /// Calls that still hold a place: their tokens have not ended yet.
    pub reserved: usize,
}

impl ShutdownReport {
    /// Whether nothing is left, and nothing was given up.
    pub fn is_complete(&self) -> bool {
        self.left == 0 && self.reserved == 0 && self.given_up == 0
    }
}
