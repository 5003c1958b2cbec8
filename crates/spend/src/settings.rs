//! The settings that both layers have, and the checks that both make before the inner call.

use std::{sync::Arc, time::Duration};

use http::{Method, Request};
use tower_revoke_core::{
    Authenticated, PathAllowances, Reason, Rejection, RemoteRevocation, VerifiedToken,
    internal::OutageLog, read_path_as_written, read_request_path,
};

use crate::{
    Condition, ConditionRequest, PendingRevocations,
    notice::{Notice, Servers},
    outcome_rule::OutcomeRule,
    pending::{NoReservation, Reservation},
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
            outage: Arc::default(),
        }
    }
}

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
        let reservation = reservation.map_err(|error| match error {
            NoReservation::Full => Rejection::new(Reason::Busy).token(token.id()),
            NoReservation::NoRuntime => {
                Rejection::misconfigured("the call is made outside of a tokio runtime")
            }
        })?;
        Ok((reservation, Notice::reserve(&self.servers, request, token)?))
    }
}
