//! The rules for the claims of an issuer's tokens.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use serde_json::Value;
use tower_revoke_core::{
    ClaimNames, Claims, Reason, Rejection, TokenId, UnixTime, VerifiedToken,
    internal::{IssuerDigests, verified_token_of, window},
};

use crate::{
    IssuerError,
    compact::{Header, Kind},
};

/// RFC 9068 §2.2.
const ACCESS_TOKEN_CLAIMS: [&str; 7] = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"];

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rules {
    pub(crate) audiences: Vec<String>,
    pub(crate) any_audience: bool,
    pub(crate) access_tokens_only: bool,
    pub(crate) required: Vec<String>,
    /// The values that a claim may have.
    pub(crate) values: BTreeMap<String, Vec<Value>>,
    pub(crate) allow_no_expiry: bool,
    pub(crate) rule_claims: Vec<String>,
    pub(crate) claim_names: ClaimNames,
}

impl Rules {
    /// Checks the rules themselves. `bounds_lives`: the list has a `max_token_life`.
    pub(crate) fn check(&self, bounds_lives: bool) -> Result<(), IssuerError> {
        let is_named = !self.audiences.is_empty();
        // An empty one, as from an unset variable, would match an empty `aud`.
        let is_empty = self.audiences.iter().any(String::is_empty);
        if is_empty || (!is_named && !self.any_audience) {
            return Err(IssuerError::MissingAudience);
        }
        let contradiction = if is_named && self.any_audience {
            ".audience(…) and .any_audience()"
        } else if self.allow_no_expiry && self.access_tokens_only {
            ".allow_no_expiry() and .access_tokens_only()"
        } else if self.allow_no_expiry && bounds_lives {
            ".allow_no_expiry() and the list's max_token_life"
        } else {
            return Ok(());
        };
        Err(IssuerError::Contradiction(contradiction))
    }

    /// Checks what can be checked before the signature.
    pub(crate) fn check_header(&self, header: &Header) -> Result<(), Rejection> {
        match header.kind {
            Kind::AccessToken => Ok(()),
            Kind::Any if !self.access_tokens_only => Ok(()),
            _ => Err(Reason::WrongType.into()),
        }
    }

    /// Checks the claims of a token of `issuer` whose signature is valid. Returns it with the seconds
    /// within which they are valid.
    pub(crate) fn check_claims(
        &self,
        claims: Claims,
        issuer: &IssuerDigests,
        signing_input: &str,
        now: UnixTime,
        leeway: Duration,
    ) -> Result<(VerifiedToken, Range<u64>), Rejection> {
        let id = token_id(&claims, issuer, signing_input);
        let named = |rejection: Rejection| rejection.token(id);
        self.check_required(&claims).map_err(named)?;
        self.check_audience(&claims).map_err(named)?;
        self.check_values(&claims).map_err(named)?;
        let window = self.check_times(&claims, now, leeway).map_err(named)?;
        // Bound to a key, so not a bearer token (RFC 9449 §7.2, RFC 8705 §3).
        if claims.get("cnf").is_some() {
            return Err(named(Reason::Bound.into()));
        }
        let claims = claims.named_by(&self.claim_names);
        let claims = claims.map_err(|error| named(error.into()))?;
        let mut token = verified_token_of(issuer, id, claims, leeway);
        for name in &self.rule_claims {
            token = token
                .with_rule_claim(name)
                .map_err(|error| named(error.into()))?;
        }
        Ok((token, window))
    }

    fn check_required(&self, claims: &Claims) -> Result<(), Rejection> {
        let by_rfc = match self.access_tokens_only {
            true => ACCESS_TOKEN_CLAIMS.as_slice(),
            false => &[],
        };
        let required = by_rfc
            .iter()
            .copied()
            .chain(self.required.iter().map(String::as_str));
        for name in required {
            if !claims.has(name) {
                return Err(missing(name));
            }
        }
        let has_id = claims.jwt_id().is_some_and(|id| !id.is_empty());
        if self.access_tokens_only && !has_id {
            return Err(missing("jti"));
        }
        Ok(())
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), Rejection> {
        if self.any_audience {
            return Ok(());
        }
        if !claims.has("aud") {
            return Err(missing("aud"));
        }
        if self.audiences.iter().any(|ours| claims.has_audience(ours)) {
            return Ok(());
        }
        Err(Reason::WrongAudience.into())
    }

    fn check_values(&self, claims: &Claims) -> Result<(), Rejection> {
        for (name, accepted) in &self.values {
            let value = claims.get(name).ok_or_else(|| missing(name))?;
            if !accepted.contains(value) {
                let detail = format!("the claim {name} has another value");
                return Err(Rejection::new(Reason::WrongClaim).detail(detail));
            }
        }
        Ok(())
    }

    fn check_times(
        &self,
        claims: &Claims,
        now: UnixTime,
        leeway: Duration,
    ) -> Result<Range<u64>, Rejection> {
        if claims.expires_at().is_none() && !self.allow_no_expiry {
            return Err(Rejection::new(Reason::Expired).detail("the token has no expiry"));
        }
        let window = window(claims, leeway);
        if now.as_secs() >= window.end {
            return Err(Reason::Expired.into());
        }
        if now.as_secs() < window.start {
            return Err(Reason::NotYetValid.into());
        }
        Ok(window)
    }
}

/// A `jti` identifies a token only if it is a non-empty string.
fn token_id(claims: &Claims, issuer: &IssuerDigests, signing_input: &str) -> TokenId {
    match claims.jwt_id() {
        Some(jwt_id) if !jwt_id.is_empty() => issuer.token_id(jwt_id),
        _ => TokenId::of_signing_input(signing_input),
    }
}

fn missing(claim: &str) -> Rejection {
    Rejection::new(Reason::MissingClaim).detail(format!("the token lacks the claim {claim}"))
}
