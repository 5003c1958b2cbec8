//! The layer, and all that it can be told.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use http::Method;
use tower_layer::Layer;
use tower_revoke_core::{Clock, Outcome, RemoteRevocation};

use crate::{
    Head, OnStoreError, PendingRevocations, Revoke, When,
    config::{Config, Cost, GiveBack},
};

/// Ends a token with the response that it paid for.
///
/// It stands inside of a `RequireBearerLayer`, and takes the token and its revocation list from
/// the [`Authenticated`](tower_revoke_core::Authenticated) that it finds in the request: 401 if
/// nobody is there, 500 if no bearer layer looked.
///
/// See the [crate's docs](crate) for what is promised.
#[derive(Clone, Debug)]
#[must_use]
pub struct RevokeLayer {
    config: Config,
}

impl RevokeLayer {
    /// The token may be used once: of any number of calls, on any number of nodes, one reaches the
    /// inner service. The use is taken before the call, so parallel calls are rejected at once.
    /// This is what you want.
    pub fn single_use() -> Self {
        Self::with(Cost::Use(NonZeroU32::MIN))
    }

    /// The token may be used `n` times; otherwise as [`single_use`](Self::single_use). Uses count
    /// per token, wherever it is spent: layers with another `n` for the same token are an error
    /// (500), which the log explains. `n` of zero is taken as one.
    pub fn uses(n: u32) -> Self {
        Self::with(Cost::Use(NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)))
    }

    /// The token is revoked at the end of the first response, before its last byte. Until then,
    /// parallel calls with the same token pass: that is how gateways do it, and what
    /// [`single_use`](Self::single_use) doesn't allow.
    ///
    /// Calls of one token share one pending revocation, and one [slot](PendingRevocations): it is due when the
    /// first of their responses ends, or at the earliest of their deadlines, and each end waits for
    /// a revocation that was asked of the store after it.
    pub fn after_response() -> Self {
        Self::with(Cost::Life)
    }

    fn with(cost: Cost) -> Self {
        Self {
            config: Config {
                cost,
                when: None,
                except: Vec::new(),
                return_rule: Vec::new(),
                on_store_error: OnStoreError::default(),
                commit_timeout: Duration::from_secs(2),
                deadline: Duration::from_secs(30),
                slots: PendingRevocations::default(),
                servers: Arc::new([]),
                clock: Clock::system(),
                outage: Arc::default(),
            },
        }
    }

    /// Only calls for which the condition holds spend; the others pass. Of several, all must hold.
    ///
    /// To spend on some routes, put the layer on these routes instead of a condition on the path:
    /// the router that picks the handler then also decides what the call costs.
    ///
    /// A layer with a condition rejects a path that servers may read differently
    /// ([`PathAmbiguity`](tower_revoke_core::PathAmbiguity)) with 400
    /// ([`Reason::AmbiguousPath`](tower_revoke_core::Reason::AmbiguousPath)), since a call to
    /// another spelling of the path would be free. What a layer further out allows by
    /// [`PathAllowances`](tower_revoke_core::PathAllowances) in the request's extensions is
    /// allowed here too. A layer without a condition doesn't look at the path.
    ///
    /// A path with an encoded reserved character, as `/%40public`, is judged twice: decoded, and as
    /// it is written, since routers differ here. The call spends if the condition holds for either.
    ///
    /// What else a server reads alike only the condition can know: letter case (Express, ASP.NET
    /// Core), a trailing slash, a suffix such as `.json`, or another method in a form field such as
    /// `_method`.
    ///
    /// ```
    /// use tower_revoke_spend::{Call, RevokeLayer, When};
    ///
    /// let one_time = RevokeLayer::single_use().when(When::scope("OTT"));
    /// let invoices = RevokeLayer::single_use()
    ///     .when(|call: &Call<'_>| call.path().starts_with("/invoices"));
    /// ```
    pub fn when(mut self, condition: impl Into<When>) -> Self {
        let condition = condition.into();
        self.config.when = Some(match self.config.when.take() {
            Some(first) => first.and(condition),
            None => condition,
        });
        self
    }

    /// Calls with these methods pass without spending; behind an optional bearer layer, also without
    /// a token. Without it HEAD spends too, and so does the HEAD that a chat program sends to preview
    /// a link.
    pub fn except_methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.config.except.extend(methods);
        self
    }

    /// Gives the use back (or, for [`after_response`](Self::after_response), spares the token) if
    /// the head of the response says that the call ended so. It is decided once, at the head,
    /// before any byte of the body is handed on; a gRPC call, when its answer is trailers only.
    /// Without a rule every outcome spends, also a client that leaves.
    pub fn return_on(mut self, outcome: Outcome) -> Self {
        self.config.return_rule.push(GiveBack::On(outcome));
        self
    }

    /// As [`return_on`](Self::return_on), by a rule of your own over the head.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_revoke_spend::{Head, RevokeLayer};
    ///
    /// let layer = RevokeLayer::single_use()
    ///     .return_if(|head: &Head<'_>| head.status == StatusCode::NOT_FOUND);
    /// ```
    pub fn return_if(mut self, rule: impl Fn(&Head<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.config.return_rule.push(GiveBack::If(Arc::new(rule)));
        self
    }

    /// What becomes of a response when the token's end can't be written down in time.
    pub fn on_store_error(mut self, choice: OnStoreError) -> Self {
        self.config.on_store_error = choice;
        self
    }

    /// How long the end of a response waits for the store; 2 s unless set.
    pub fn commit_timeout(mut self, limit: Duration) -> Self {
        self.config.commit_timeout = limit;
        self
    }

    /// For [`after_response`](Self::after_response): how long after the call the token is revoked
    /// in any case, though the client has not read to the end. Defaults to 30 s. The response goes
    /// on. At its end the token is revoked once more, since it may have been lifted meanwhile.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.config.deadline = limit;
        self
    }

    /// The slots of calls that spend. Defaults to 1,024 of this layer's own.
    pub fn pending_revocations(mut self, slots: &PendingRevocations) -> Self {
        self.config.slots = slots.clone();
        self
    }

    /// Tells the authorization server too, when the token has ended here.
    pub fn also_at(mut self, server: impl Into<Arc<dyn RemoteRevocation>>) -> Self {
        let others = self.config.servers.iter().cloned();
        self.config.servers = others.chain([server.into()]).collect();
        self
    }

    /// Where the time comes from; the machine's clock unless given.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.config.clock = clock;
        self
    }
}

impl<S> Layer<S> for RevokeLayer {
    type Service = Revoke<S>;

    fn layer(&self, inner: S) -> Revoke<S> {
        Revoke::new(inner, Arc::new(self.config.clone()))
    }
}
