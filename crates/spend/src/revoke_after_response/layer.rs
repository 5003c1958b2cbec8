//! The layer and its settings.

use std::{sync::Arc, time::Duration};

use tower_layer::Layer;
use tower_revoke_core::Outcome;

use super::RevokeAfterResponse;
use crate::{
    OnStoreError, ResponseHead,
    outcome_rule::OutcomeRule,
    settings::{Settings, shared_setters},
};

/// Revokes a token at the end of its first response, before the last byte is handed on.
///
/// Until then, parallel calls with the same token pass, as in gateways that do the same. If they
/// must not, use [`UseLimitLayer::single`](crate::UseLimitLayer::single).
///
/// Every outcome revokes the token, also an error, a panic, and a client that leaves before the end,
/// unless a rule [keeps](Self::keep_on) it. Calls of one token share one pending revocation. It is due
/// when the first of their responses ends, or at the earliest of their [deadlines](Self::deadline).
/// Each end waits for a revocation that begins after it, since the token may have been lifted between
/// two ends.
///
/// The layer belongs inside of a `RequireBearerLayer`. It takes the token and its revocation list
/// from the [`Authenticated`](tower_revoke_core::Authenticated) in the request's extensions, and
/// rejects with 401 if the request has no verified token, and with 500 if it came through no bearer
/// layer. See the [crate's docs](crate) for what is guaranteed.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use tower_revoke_spend::{Condition, RevokeAfterResponseLayer};
///
/// // As WSO2's policy: tokens with the scope `OTT`.
/// let layer = RevokeAfterResponseLayer::new()
///     .when(Condition::scope("OTT"))
///     .deadline(Duration::from_secs(10));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct RevokeAfterResponseLayer {
    pub(crate) settings: Settings,
    pub(crate) on_store_error: OnStoreError,
    pub(crate) deadline: Duration,
}

impl RevokeAfterResponseLayer {
    /// Revokes the token of every call.
    pub fn new() -> Self {
        Self {
            settings: Settings::default(),
            on_store_error: OnStoreError::default(),
            deadline: Duration::from_secs(30),
        }
    }

    /// Sets what becomes of a response whose token could not be revoked in time. Defaults to
    /// [`OnStoreError::CutOff`].
    pub fn on_store_error(mut self, choice: OnStoreError) -> Self {
        self.on_store_error = choice;
        self
    }

    /// Sets how long after the call the token is revoked in any case, also while the client has not
    /// read the response to its end. Defaults to 30 s.
    ///
    /// The response goes on. At its end the token is revoked once more, since it may have been lifted
    /// meanwhile.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Keeps the token if the call had this outcome: the call's part in the pending revocation is
    /// cancelled. Other calls of the token may still revoke it.
    ///
    /// The rule is applied once, to the head of the response. Without a rule every outcome revokes.
    pub fn keep_on(mut self, outcome: Outcome) -> Self {
        self.settings.free.push(OutcomeRule::On(outcome));
        self
    }

    /// Keeps the token if `rule` holds for the head of the response; otherwise as
    /// [`keep_on`](Self::keep_on).
    ///
    /// # Examples
    /// ```
    /// use tower_revoke_spend::{ResponseHead, RevokeAfterResponseLayer};
    ///
    /// let layer = RevokeAfterResponseLayer::new()
    ///     .keep_if(|head: &ResponseHead<'_>| head.headers.contains_key("x-not-served"));
    /// ```
    pub fn keep_if(
        mut self,
        rule: impl Fn(&ResponseHead<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.settings.free.push(OutcomeRule::If(Arc::new(rule)));
        self
    }
}

shared_setters!(RevokeAfterResponseLayer);

impl Default for RevokeAfterResponseLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for RevokeAfterResponseLayer {
    type Service = RevokeAfterResponse<S>;

    fn layer(&self, inner: S) -> RevokeAfterResponse<S> {
        let mut config = self.clone();
        if config.settings.is_observing() {
            config.on_store_error = OnStoreError::Deliver;
        }
        RevokeAfterResponse::new(inner, Arc::new(config))
    }
}
