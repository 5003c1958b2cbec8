//! The early end of a revocation.

use crate::{RevocationKey, UnixTime};

/// Ends the revocation of a key early.
///
/// It carries the key, the time, the author and the reason.
///
/// ```
/// use tower_revoke_core::{Lift, RevocationKey};
///
/// let ann = RevocationKey::subject("https://id.example.com", "ann");
/// let lift = Lift::new(ann).by("bob@example.com").because("laptop found");
/// assert_eq!(lift.author(), "bob@example.com");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lift {
    key: RevocationKey,
    at: Option<UnixTime>,
    by: String,
    reason: String,
}

impl Lift {
    /// Ends the revocation of a token, or a rule.
    pub fn new(key: impl Into<RevocationKey>) -> Self {
        Self {
            key: key.into(),
            at: None,
            by: String::new(),
            reason: String::new(),
        }
    }

    /// Sets when the lift was requested. By default, a list uses the time of its clock.
    #[must_use]
    pub fn at(mut self, at: UnixTime) -> Self {
        self.at = Some(at);
        self
    }

    /// Sets the person or program that lifts, for the record.
    #[must_use]
    pub fn by(mut self, by: impl Into<String>) -> Self {
        self.by = by.into();
        self
    }

    /// Sets the reason, for the record. It must not contain a token or secret.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Returns the key whose revocation ends.
    pub fn key(&self) -> &RevocationKey {
        &self.key
    }

    /// Returns when it was requested, if that was set.
    pub fn time(&self) -> Option<UnixTime> {
        self.at
    }

    /// Returns the person or program that requested it. Empty if unknown.
    pub fn author(&self) -> &str {
        &self.by
    }

    /// Returns the reason. Empty if none was given.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
