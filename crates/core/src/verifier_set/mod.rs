//! Several verifiers side by side, of which each token is given to one.

mod chain;
mod routes;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

pub use self::routes::VerifierSetError;
use self::{
    chain::Verifiers,
    routes::{Routes, Rule},
};
use crate::{Authenticated, BearerToken, ReadyError, Rejection, TokenVerifier};

/// Several verifiers, for a service that accepts JWTs and opaque tokens side by side.
///
/// Each token is given to exactly one verifier, which is chosen by the form of the token before
/// anything is looked up or verified. What that verifier rejects is rejected: no other is tried.
///
/// | the first of these that applies | the verifier of |
/// |---|---|
/// | the token begins with a prefix, in the same case | [`prefix`](VerifierSetBuilder::prefix) |
/// | it has the form of a signed JWT: three parts of base64url characters, and its payload, which is not verified yet, names this issuer | [`issuer`](VerifierSetBuilder::issuer) |
/// | it has that form | [`jwt`](VerifierSetBuilder::jwt) |
/// | any other token | [`other`](VerifierSetBuilder::other) |
///
/// A token for which there is no verifier is rejected with
/// [`Reason::UnknownForm`](crate::Reason::UnknownForm). An opaque token that may contain dots can look
/// like a JWT, so it needs a prefix.
///
/// # Examples
/// ```
/// use tower_revoke_core::{TokenVerifier, VerifierSet, VerifierSetError};
///
/// /// `tokens` verifies JWTs, `api_keys` opaque tokens such as `acme_7fk…`.
/// fn both(
///     tokens: impl TokenVerifier,
///     api_keys: impl TokenVerifier,
/// ) -> Result<impl TokenVerifier, VerifierSetError> {
///     VerifierSet::builder()
///         .jwt(tokens)
///         .prefix("acme_", api_keys)
///         .build()
/// }
/// ```
#[derive(Clone)]
pub struct VerifierSet<V> {
    verifiers: V,
    routes: Arc<Routes>,
}

/// Configures a [`VerifierSet`]. The order of the calls makes no difference.
#[derive(Clone)]
#[must_use = "nothing is verified until the set is built"]
pub struct VerifierSetBuilder<V> {
    verifiers: V,
    rules: Vec<Rule>,
}

impl VerifierSet<()> {
    /// Configures a set.
    pub fn builder() -> VerifierSetBuilder<()> {
        VerifierSetBuilder {
            verifiers: (),
            rules: Vec::new(),
        }
    }
}

impl<V> VerifierSetBuilder<V> {
    /// Gives tokens that begin with `prefix` to this verifier. The prefix is part of the token that
    /// the verifier gets.
    pub fn prefix<T: TokenVerifier>(
        self,
        prefix: impl Into<String>,
        verifier: T,
    ) -> VerifierSetBuilder<(T, V)> {
        self.with(Rule::Prefix(prefix.into()), verifier)
    }

    /// Gives signed JWTs whose `iss` is `issuer` to this verifier.
    ///
    /// A verifier that is to have JWTs of several issuers, as a `JwtVerifier` may, needs
    /// [`jwt`](Self::jwt) only. This is for issuers whose tokens are verified in other ways. The
    /// payload of a token that is not cached is decoded twice.
    pub fn issuer<T: TokenVerifier>(
        self,
        issuer: impl Into<String>,
        verifier: T,
    ) -> VerifierSetBuilder<(T, V)> {
        self.with(Rule::Issuer(issuer.into()), verifier)
    }

    /// Gives signed JWTs to this verifier.
    pub fn jwt<T: TokenVerifier>(self, verifier: T) -> VerifierSetBuilder<(T, V)> {
        self.with(Rule::Jwt, verifier)
    }

    /// Gives all tokens to this verifier for which there is no other, such as opaque tokens without a
    /// common prefix, and encrypted JWTs.
    pub fn other<T: TokenVerifier>(self, verifier: T) -> VerifierSetBuilder<(T, V)> {
        self.with(Rule::Other, verifier)
    }

    fn with<T>(mut self, rule: Rule, verifier: T) -> VerifierSetBuilder<(T, V)> {
        self.rules.push(rule);
        VerifierSetBuilder {
            verifiers: (verifier, self.verifiers),
            rules: self.rules,
        }
    }

    /// Builds the set.
    ///
    /// # Errors
    /// [`VerifierSetError`] if there is no verifier, or a token could be meant for two of them.
    pub fn build(self) -> Result<VerifierSet<V>, VerifierSetError> {
        Ok(VerifierSet {
            verifiers: self.verifiers,
            routes: Arc::new(Routes::new(self.rules)?),
        })
    }
}

impl<V: Verifiers> TokenVerifier for VerifierSet<V> {
    fn verify_cached(&self, token: &BearerToken) -> Option<Result<Authenticated, Rejection>> {
        if let Some(at) = self.routes.by_form(token.as_bytes()) {
            return match at {
                Ok(at) => self.verifiers.verify_cached(at, token),
                Err(rejection) => Some(Err(rejection.into())),
            };
        }
        // The issuer need not be decoded from a token that its verifier knows. A verifier may also
        // know tokens of issuers that are not its own here, from another layer.
        self.routes.verifiers_of_jwts().find_map(|at| {
            let known = self.verifiers.verify_cached(at, token)?.ok()?;
            (self.routes.of_issuer(known.issuer()) == Some(at)).then_some(Ok(known))
        })
    }

    fn issuers(&self) -> Vec<String> {
        let mut issuers = Vec::new();
        self.verifiers.add_issuers(&mut issuers);
        issuers
    }

    async fn verify(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
        let at = self.routes.choose(token.as_str())?;
        self.verifiers.verify(at, token).await
    }

    async fn verify_candidate(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
        let at = self.routes.choose(token.as_str())?;
        self.verifiers.verify_candidate(at, token).await
    }

    /// Waits until all verifiers are ready.
    async fn ready(&self) -> Result<(), ReadyError> {
        self.verifiers.ready().await
    }
}

impl<V> fmt::Debug for VerifierSet<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifierSet").field(&self.routes).finish()
    }
}

impl<V> fmt::Debug for VerifierSetBuilder<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifierSetBuilder")
            .field(&self.rules)
            .finish()
    }
}
