//! The layer and its settings.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use http::Method;
use tower_layer::Layer;
use tower_revoke_core::{Outcome, RemoteRevocation};

use super::UseLimit;
use crate::{
    Condition, PendingRevocations, ResponseHead, outcome_rule::OutcomeRule, settings::Settings,
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
#[must_use = "a layer does nothing until it is put around a service"]
pub struct UseLimitLayer {
    pub(super) settings: Settings,
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

    /// Takes a use only from calls for which the condition holds; others pass. Of several
    /// conditions, all must hold.
    ///
    /// To limit some routes, put the layer around these routes instead of a condition on the path:
    /// then the router that picks the handler also decides what is limited.
    ///
    /// # Paths
    /// A layer with a condition rejects a path that servers may read differently
    /// ([`PathAmbiguity`](tower_revoke_core::PathAmbiguity)) with 400
    /// ([`Reason::AmbiguousPath`](tower_revoke_core::Reason::AmbiguousPath)): otherwise a call to
    /// another spelling of the path would be free. What
    /// [`PathAllowances`](tower_revoke_core::PathAllowances) in the request's extensions allow is
    /// allowed here too. A layer without a condition accepts any path.
    ///
    /// For a path with an encoded reserved character, such as `/%40public`, the condition is
    /// evaluated twice, with the path decoded and as it was written, since routers differ here. The
    /// call takes a use if it holds for either.
    ///
    /// Other spellings that a server may treat alike are up to the condition: letter case (Express,
    /// ASP.NET Core), a trailing slash, a suffix such as `.json`, or another method in a form field
    /// such as `_method`.
    ///
    /// # Examples
    /// ```
    /// use tower_revoke_spend::{Condition, ConditionRequest, UseLimitLayer};
    ///
    /// let one_time = UseLimitLayer::single().when(Condition::scope("OTT"));
    /// let invoices = UseLimitLayer::single()
    ///     .when(|request: &ConditionRequest<'_>| request.path().starts_with("/invoices"));
    /// ```
    pub fn when(mut self, condition: impl Into<Condition>) -> Self {
        self.settings.add_condition(condition.into());
        self
    }

    /// Lets requests with these methods pass without a use; inside of an optional bearer layer also
    /// without a token.
    ///
    /// Without this setting HEAD takes a use too, such as the HEAD that a chat program sends to
    /// preview a link.
    pub fn except_methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.settings.excepted_methods.extend(methods);
        self
    }

    /// Sets how long a call waits for the store to take its use, and a response for the store to
    /// return it. Defaults to 2 s.
    pub fn commit_timeout(mut self, timeout: Duration) -> Self {
        self.settings.commit_timeout = timeout;
        self
    }

    /// Shares the capacity for pending uses and revocations with other layers. Defaults to 1,024 of
    /// this layer's own.
    pub fn pending_revocations(mut self, pending: &PendingRevocations) -> Self {
        self.settings.pending = pending.clone();
        self
    }

    /// Revokes the token at an authorization server too, when its last use is spent.
    pub fn also_at(mut self, server: impl Into<Arc<dyn RemoteRevocation>>) -> Self {
        self.settings.add_server(server.into());
        self
    }
}

impl<S> Layer<S> for UseLimitLayer {
    type Service = UseLimit<S>;

    fn layer(&self, inner: S) -> UseLimit<S> {
        UseLimit::new(inner, Arc::new(self.clone()))
    }
}
