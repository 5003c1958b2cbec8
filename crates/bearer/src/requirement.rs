//! What a token must grant, for a whole service or for a route.

use serde_json::Value;
use tower_revoke_core::{Authenticated, Reason, Rejection};

/// What must all be granted. Every token meets an empty one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requirement {
    /// One scope of each choice; a required scope is a choice of one.
    scopes: Vec<Vec<String>>,
    claims: Vec<(String, Value)>,
}

impl Requirement {
    pub(crate) fn scope(&mut self, scope: String) {
        self.scopes.push(vec![scope]);
    }

    pub(crate) fn any_scope(&mut self, scopes: Vec<String>) {
        self.scopes.push(scopes);
    }

    pub(crate) fn claim(&mut self, name: String, value: Value) {
        self.claims.push((name, value));
    }

    pub(crate) fn check(&self, caller: &Authenticated) -> Result<(), Rejection> {
        let holds_one = |choice: &Vec<String>| choice.iter().any(|scope| caller.has_scope(scope));
        if !self.scopes.iter().all(holds_one) {
            let rejection = Rejection::insufficient_scope(self.necessary().join(" "));
            return Err(rejection.token(caller.token_id()));
        }
        let claims = caller.token().claims();
        let holds = |(name, value): &(String, Value)| claims.get(name) == Some(value);
        if !self.claims.iter().all(holds) {
            return Err(Rejection::new(Reason::InsufficientScope).token(caller.token_id()));
        }
        Ok(())
    }

    /// "The scope necessary to access the protected resource" (RFC 6750 §3.1). It can't express a
    /// choice, so this is the first scope of each.
    pub(crate) fn necessary(&self) -> Vec<String> {
        let choices = self.scopes.iter();
        choices
            .filter_map(|choice| choice.first().cloned())
            .collect()
    }

    /// Every scope that is required or can be chosen, once.
    pub(crate) fn all_scopes(&self) -> Vec<String> {
        let mut scopes: Vec<String> = Vec::new();
        for scope in self.scopes.iter().flatten() {
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
        scopes
    }
}
