//! Counts of the client, and the report of its shutdown.

use tower_revoke_core::UnixTime;

use crate::response::DeliveryFailure;

/// The state of a [`RevocationClient`](crate::RevocationClient), and its counts since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevocationClientStats {
    /// Calls that hold a slot for a token that may still be revoked. Calls with one token share its
    /// slot.
    pub reserved: usize,
    /// Tokens that are still to be revoked at the server, with those in flight.
    pub queued: usize,
    /// Tokens that the server has revoked: it answered with a 2xx.
    pub delivered: u64,
    /// Tokens that it rejected with a 400, which are not retried. They stay revoked here.
    pub rejected: u64,
    /// Tokens that were dropped: they have expired, or
    /// [`retry_timeout`](crate::RevocationClientBuilder::retry_timeout) has passed.
    pub abandoned: u64,
    /// Tokens that the [`outbox`](crate::RevocationClientBuilder::outbox) had from an earlier process.
    pub recovered: u64,
    /// Tokens that the outbox has from an earlier process and that can't be read, as their key was not
    /// given: alert on it. They are sent after a start with that key, or dropped when they are no longer
    /// owed.
    pub unreadable: usize,
    /// The time since when every attempt has failed; `None` while the server answers.
    pub failing_since: Option<UnixTime>,
    /// Why the last failed attempt failed.
    pub last_failure: Option<DeliveryFailure>,
    /// The code of the last rejection, if it is one of RFC 6749 §5.2 or RFC 7009 §2.2.1.
    pub last_rejection: Option<&'static str>,
    /// Whether every attempt will fail until an operator corrects the credentials or the endpoint:
    /// alert on it.
    pub needs_operator: bool,
}

/// What happened during a [`shutdown`](crate::RevocationClient::shutdown), and what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "tokens may be left that are not revoked at the authorization server"]
pub struct ShutdownReport {
    /// Tokens that the server revoked meanwhile.
    pub delivered: u64,
    /// Tokens that it rejected meanwhile.
    pub rejected: u64,
    /// Tokens that were dropped meanwhile: they have expired, or
    /// [`retry_timeout`](crate::RevocationClientBuilder::retry_timeout) has passed.
    pub abandoned: u64,
    /// Tokens that are still queued. They are lost with the process, unless an
    /// [`outbox`](crate::RevocationClientBuilder::outbox) keeps them.
    pub queued: usize,
    /// Calls that still hold a slot: they may still queue a token.
    pub reserved: usize,
}

impl ShutdownReport {
    /// Returns whether nothing is left, and nothing was dropped.
    pub fn is_complete(&self) -> bool {
        self.queued == 0 && self.reserved == 0 && self.abandoned == 0
    }
}
