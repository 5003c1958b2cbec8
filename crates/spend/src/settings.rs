//! The settings that both layers have, and the checks that both make before the inner call.

use std::{sync::Arc, time::Duration};

use http::{Method, Request};
use tower_revoke_core::{
    Authenticated, PathAllowances, Reason, Rejection, RejectionFormat, RemoteRevocation,
    Revocations, VerifiedToken,
    internal::{OutageLog, list_of, log_observed},
    read_path_as_written, read_request_path,
};

use crate::{
    Condition, ConditionRequest, PendingRevocations,
    ledger::Ledger,
    notice::{Notice, Servers},
    outcome_rule::OutcomeRule,
    pending::Reservation,
};

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    condition: Option<Condition>,
    pub(crate) excepted_methods: Vec<Method>,
    /// A call for which one of them holds costs nothing.
    pub(crate) free: Vec<OutcomeRule>,
    pub(crate) commit_timeout: Duration,
    pub(crate) pending: PendingRevocations,
    pub(crate) servers: Servers,
    /// Takes the place of each token's list in a layer that only observes.
    observed: Option<Arc<dyn Revocations>>,
    /// Limits what is logged while writes to the list fail.
    pub(crate) outage: Arc<OutageLog>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            condition: None,
            excepted_methods: Vec::new(),
            free: Vec::new(),
            commit_timeout: Duration::from_secs(2),
            pending: PendingRevocations::default(),
            servers: Arc::new([]),
            observed: None,
            outage: Arc::default(),
        }
    }
}

/// Implements the setters that both layers have.
macro_rules! shared_setters {
    ($layer:ty) => {
        impl $layer {
            /// Spends only on calls for which the condition holds; all others pass at no cost. Of
            /// several conditions, all must hold.
            ///
            /// To spend on some routes, put the layer around these routes instead of a condition on
            /// the path: then the router that picks the handler also decides what is spent.
            ///
            /// # Paths
            /// A layer with a condition rejects a path that servers may read differently
            /// ([`PathAmbiguity`](tower_revoke_core::PathAmbiguity)) with 400
            /// ([`Reason::AmbiguousPath`](tower_revoke_core::Reason::AmbiguousPath)): otherwise a
            /// call to another spelling of the path would be free. What
            /// [`PathAllowances`](tower_revoke_core::PathAllowances) in the request's extensions
            /// allow is allowed here too. A layer without a condition accepts any path.
            ///
            /// For a path with an encoded reserved character, such as `/%40public`, the condition is
            /// evaluated twice, with the path decoded and as it was written, since routers differ
            /// here. It holds if it holds for either.
            ///
            /// Other spellings that a server may treat alike are up to the condition: letter case
            /// (Express, ASP.NET Core), a trailing slash, a suffix such as `.json`, or another method
            /// in a form field such as `_method`.
            ///
            /// # Examples
            /// ```
            /// use tower_revoke_spend::{Condition, ConditionRequest, UseLimitLayer};
            ///
            /// let one_time = UseLimitLayer::single().when(Condition::scope("OTT"));
            /// let invoices = UseLimitLayer::single()
            ///     .when(|request: &ConditionRequest<'_>| request.path().starts_with("/invoices"));
            /// ```
            pub fn when(mut self, condition: impl Into<$crate::Condition>) -> Self {
                self.settings.add_condition(condition.into());
                self
            }

            /// Lets requests with these methods pass at no cost; inside of an optional bearer layer
            /// also without a token.
            ///
            /// Without this setting HEAD spends too, such as the HEAD that a chat program sends to
            /// preview a link.
            pub fn except_methods(
                mut self,
                methods: impl IntoIterator<Item = http::Method>,
            ) -> Self {
                self.settings.excepted_methods.extend(methods);
                self
            }

            /// Sets how long a call, its head or the end of its response waits for the store.
            /// Defaults to 2 s.
            pub fn commit_timeout(mut self, timeout: std::time::Duration) -> Self {
                self.settings.commit_timeout = timeout;
                self
            }

            /// Shares the capacity for pending uses and revocations with other layers. Defaults to
            /// 1,024 of this layer's own.
            pub fn pending_revocations(mut self, pending: &$crate::PendingRevocations) -> Self {
                self.settings.pending = pending.clone();
                self
            }

            /// Rejects no request and spends nothing, for a service that is to get this layer.
            ///
            /// A request that would have been rejected is logged at level `INFO` with the reason,
            /// counted by the bearer layer around it (`RequireBearerLayer::not_enforced`), and
            /// passed on. Neither the token's list nor an authorization server is asked or told.
            ///
            /// Uses and ended tokens are remembered in this process only, for up to 100,000 tokens, and
            /// by this layer and its clones: put clones of one layer on several routes. So a token that
            /// was used up on another node, or before a restart, is not noticed.
            pub fn observe(mut self) -> Self {
                self.settings.observe();
                self
            }

            /// Revokes the token at an authorization server too, when it is revoked or its last use
            /// is spent here.
            ///
            /// The response never waits for the server. If the client keeps what it owes in an outbox,
            /// the response waits for that as for the store, for the commit timeout at most.
            ///
            /// The server is not told of a call with a ticket: it doesn't know the ticket, and the token
            /// that the ticket stands for was not presented. That token ends here alone.
            #[doc(alias = "rfc7009")]
            pub fn also_at(
                mut self,
                server: impl Into<std::sync::Arc<dyn tower_revoke_core::RemoteRevocation>>,
            ) -> Self {
                self.settings.add_server(server.into());
                self
            }
        }
    };
}

pub(crate) use shared_setters;

impl Settings {
    pub(crate) fn add_condition(&mut self, condition: Condition) {
        self.condition = Some(match self.condition.take() {
            Some(first) => first.and(condition),
            None => condition,
        });
    }

    pub(crate) fn add_server(&mut self, server: Arc<dyn RemoteRevocation>) {
        let others = self.servers.iter().cloned();
        self.servers = others.chain([server]).collect();
    }

    pub(crate) fn observe(&mut self) {
        self.observed.get_or_insert_with(|| Arc::new(Ledger::new()));
    }

    pub(crate) fn is_observing(&self) -> bool {
        self.observed.is_some()
    }

    /// Returns what the call costs, or the rejection that the layer enforces. A call whose rejection
    /// it only observes costs nothing; the rejection is logged and counted.
    pub(crate) fn enforced<T, B>(
        &self,
        cost: Result<Option<T>, Rejection>,
        request: &Request<B>,
    ) -> Result<Option<T>, Rejection> {
        match cost {
            Err(rejection) if self.is_observing() => {
                log_observed(&RejectionFormat::of(request.extensions()), &rejection);
                Ok(None)
            }
            cost => cost,
        }
    }

    /// Returns the list on which a token is spent: its own, unless the layer only observes.
    pub(crate) fn list_of(&self, token: &VerifiedToken) -> Result<Arc<dyn Revocations>, Rejection> {
        let own = list_of(token)?;
        Ok(self.observed.as_ref().unwrap_or(own).clone())
    }

    /// Returns the token that the call spends; `None` if the call doesn't spend.
    pub(crate) fn spent_token<'a, B>(
        &self,
        request: &'a Request<B>,
    ) -> Result<Option<&'a VerifiedToken>, Rejection> {
        let caller = Authenticated::of(request.extensions());
        if self.excepted_methods.contains(request.method()) {
            // Passes without a caller, but not if the bearer layer was forgotten.
            return match caller {
                Err(rejection) if rejection.reason() == Reason::Misconfigured => Err(rejection),
                _ => Ok(None),
            };
        }
        let caller = caller?;
        let spends = self.condition_holds(caller, request)?;
        Ok(spends.then(|| &**caller.token()))
    }

    fn condition_holds<B>(
        &self,
        caller: &Authenticated,
        request: &Request<B>,
    ) -> Result<bool, Rejection> {
        let Some(condition) = &self.condition else {
            return Ok(true);
        };
        let allowed = PathAllowances::of(request.extensions());
        let path = read_request_path(request, allowed)
            .map_err(|ambiguity| Rejection::from(ambiguity).token(caller.token_id()))?;
        let holds = |path: &str| condition.holds(&ConditionRequest::new(caller, request, path));
        // Routers differ in whether they decode reserved characters: the call spends if the
        // condition holds for either reading.
        let as_written = || read_path_as_written(request.uri().path());
        Ok(holds(&path) || as_written().is_some_and(|path| holds(&path)))
    }

    /// Reserves what the work after the call needs, so that it can't fail for want of capacity then.
    pub(crate) fn reserve<B>(
        &self,
        request: &Request<B>,
        token: &VerifiedToken,
    ) -> Result<(Reservation, Option<Box<Notice>>), Rejection> {
        let reservation = self.pending.reserve(token.holder());
        let reservation = reservation.map_err(|rejection| rejection.token(token.id()))?;
        let notice = match self.is_observing() {
            true => None,
            false => Notice::reserve(&self.servers, request, token)?,
        };
        Ok((reservation, notice))
    }
}
