//! What parts of a program tell operators about their health.

use serde::Serialize;

use crate::UnixTime;

/// A part of a program whose health operators see, such as a revocation list.
///
/// ```
/// use tower_revoke_core::{HealthCheck, HealthSource, HealthStatus};
///
/// struct Billing;
///
/// impl HealthSource for Billing {
///     fn health(&self) -> Vec<HealthCheck> {
///         vec![HealthCheck::new("billing", HealthStatus::Pass, "connected")]
///     }
/// }
/// ```
pub trait HealthSource: Send + Sync {
    /// Returns the checks of this part. It is called every few seconds, and must not wait.
    fn health(&self) -> Vec<HealthCheck>;
}

/// How something is that the program depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HealthCheck {
    /// What is checked, such as `store`.
    pub name: &'static str,
    /// Which one, where there may be several, such as an issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The result.
    pub status: HealthStatus,
    /// The result in words, for operators.
    pub output: String,
    /// Since when the status has been the same, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<UnixTime>,
}

/// The result of a [`HealthCheck`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// All is well.
    Pass,
    /// Every guarantee holds, but an operator should look at it.
    Warn,
    /// Requests are rejected, or tokens are not revoked where they should be.
    Fail,
}

impl HealthCheck {
    /// Makes a check with its result in words.
    pub fn new(name: &'static str, status: HealthStatus, output: impl Into<String>) -> Self {
        Self {
            name,
            of: None,
            status,
            output: output.into(),
            since: None,
        }
    }

    /// Sets which one it is about.
    #[must_use]
    pub fn of(mut self, which: impl Into<String>) -> Self {
        self.of = Some(which.into());
        self
    }

    /// Sets since when the status has been the same.
    #[must_use]
    pub fn since(mut self, since: Option<UnixTime>) -> Self {
        self.since = since;
        self
    }
}
