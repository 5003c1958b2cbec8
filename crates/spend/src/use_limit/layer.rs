//! The layer and its settings.

use std::{num::NonZeroU32, sync::Arc};

use tower_layer::Layer;
use tower_revoke_core::Outcome;

use super::UseLimit;
use crate::{
    ResponseHead,
    outcome_rule::OutcomeRule,
    settings::{Settings, shared_setters},
};

/// Limits how often a token can be used.
///
/// A use is taken from the store before the inner service is called. Of any number of calls, on any
/// number of nodes that share a store, at most as many reach the inner service as the token has
/// uses; the others are rejected with 401, also while the first are still being answered.
///
/// Uses count per token on all routes of all nodes. Layers with different limits for one token are
/// an error: the call is rejected with 500, and the log names both limits.
///
/// The layer belongs inside of a `RequireBearerLayer`. It takes the token and its revocation list
/// from the [`Authenticated`](tower_revoke_core::Authenticated) in the request's extensions, and
/// rejects with 401 if the request has no verified token, and with 500 if it came through no bearer
/// layer. See the [crate's docs](crate) for what is guaranteed.
///
/// # Examples
/// ```
/// use http::Method;
/// use tower_revoke_core::Outcome;
/// use tower_revoke_spend::{Condition, UseLimitLayer};
///
/// // A link that works once, and may be previewed.
/// let download = UseLimitLayer::single().except_methods([Method::HEAD]);
///
/// // Three uses. One is returned if the service fails.
/// let report = UseLimitLayer::uses::<3>().return_on(Outcome::Exception);
///
/// // As WSO2's one-time tokens: only tokens with the scope `OTT`.
/// let one_time = UseLimitLayer::single().when(Condition::scope("OTT"));
/// ```
#[derive(Clone, Debug)]
#[doc(alias("single_use", "one_time", "OTT"))]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct UseLimitLayer {
    pub(crate) settings: Settings,
    pub(super) limit: NonZeroU32,
}

impl UseLimitLayer {
    /// Lets each token be used once.
    pub fn single() -> Self {
        Self::new(NonZeroU32::MIN)
    }

    /// Lets each token be used `N` times. An `N` of 0 doesn't compile.
    ///
    /// # Examples
    /// ```
    /// use tower_revoke_spend::UseLimitLayer;
    ///
    /// let layer = UseLimitLayer::uses::<3>();
    /// ```
    ///
    /// ```compile_fail
    /// use tower_revoke_spend::UseLimitLayer;
    ///
    /// let layer = UseLimitLayer::uses::<0>();
    /// ```
    pub fn uses<const N: u32>() -> Self {
        Self::new(const { NonZeroU32::new(N).expect("a token has at least one use") })
    }

    /// Lets each token be used `limit` times.
    pub fn new(limit: NonZeroU32) -> Self {
        Self {
            settings: Settings::default(),
            limit,
        }
    }

    /// Returns the use if the call had this outcome.
    ///
    /// The rule is applied once, to the head of the response, before any byte of the body is handed
    /// on. To a gRPC call it applies when the response is trailers-only. Without a rule every outcome
    /// spends the use, also that the client leaves.
    ///
    /// The response waits until the use is returned, at most for the
    /// [commit timeout](Self::commit_timeout).
    pub fn return_on(mut self, outcome: Outcome) -> Self {
        self.settings.free.push(OutcomeRule::On(outcome));
        self
    }

    /// Returns the use if `rule` holds for the head of the response; otherwise as
    /// [`return_on`](Self::return_on).
    ///
    /// # Examples
    /// ```
    /// use http::StatusCode;
    /// use tower_revoke_spend::{ResponseHead, UseLimitLayer};
    ///
    /// let layer = UseLimitLayer::single()
    ///     .return_if(|head: &ResponseHead<'_>| head.status == StatusCode::NOT_FOUND);
    /// ```
    pub fn return_if(
        mut self,
        rule: impl Fn(&ResponseHead<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.settings.free.push(OutcomeRule::If(Arc::new(rule)));
        self
    }
}

shared_setters!(UseLimitLayer);

impl<S> Layer<S> for UseLimitLayer {
    type Service = UseLimit<S>;

    fn layer(&self, inner: S) -> UseLimit<S> {
        UseLimit::new(inner, Arc::new(self.clone()))
    }
}
