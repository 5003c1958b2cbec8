//! What the server's answer means for the token (RFC 7662 §2.2).

use std::{ops::Range, sync::Arc, time::Duration};

use http::StatusCode;
use serde_json::Value;
use tower_revoke_core::{
    BearerToken, ClaimNames, Claims, ClaimsError, Reason, Rejection, Revocations, TokenHash,
    TokenId, UnixTime, VerifiedToken,
    internal::{claims_without_names, window},
};

use crate::DeliveryFailure;

/// Why the authorization server did not say whether a token is active. The request is rejected with 503,
/// and the log has this error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntrospectionError {
    /// The request failed.
    #[error("the introspection request failed: {0:?}")]
    Failed(DeliveryFailure),
    /// The request was rejected with 400, which is not about the token.
    #[error("the introspection endpoint rejects the request: {0}")]
    Rejected(StatusCode),
    /// The response is not a JSON object with unique names, or says neither that the token is active nor
    /// that it isn't.
    #[error("the introspection endpoint returned no answer of RFC 7662")]
    Unreadable,
    /// A claim of the response is of the wrong type, or contradicts another one.
    #[error("the introspection endpoint returned malformed claims")]
    MalformedClaims(#[source] ClaimsError),
    /// The server has asked to come back later.
    #[error("the introspection endpoint has asked to come back later")]
    Paused,
    /// [`max_concurrency`](crate::IntrospectionVerifierBuilder::max_concurrency) is reached.
    #[error("too many introspection requests are under way")]
    Busy,
    /// [`unknown_tokens_per_second`](crate::IntrospectionVerifierBuilder::unknown_tokens_per_second) is
    /// reached.
    #[error("too many unknown tokens are presented")]
    TooManyUnknown,
}

impl From<IntrospectionError> for Rejection {
    fn from(error: IntrospectionError) -> Self {
        Self::new(Reason::Unavailable).source(error)
    }
}

/// What this service asks of a token that is active.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) issuer: String,
    /// If there are none, tokens for any audience are accepted.
    pub(super) audiences: Vec<String>,
    pub(super) allow_no_expiry: bool,
    pub(super) rule_claims: Vec<String>,
    pub(super) claim_names: ClaimNames,
    pub(super) leeway: Duration,
    pub(super) revocations: Option<Arc<dyn Revocations>>,
}

/// A token that is active and meets the rules, with the seconds within which it does.
pub(super) type Accepted = (VerifiedToken, Range<u64>);

impl Rules {
    /// Reads an answer. The outer error is that there is none, the inner one that the token is no good.
    pub(super) fn read(
        &self,
        body: &[u8],
        token: &BearerToken,
        now: UnixTime,
    ) -> Result<Result<Accepted, Rejection>, IntrospectionError> {
        let text = std::str::from_utf8(body).map_err(|_| IntrospectionError::Unreadable)?;
        let answer = claims_without_names(text.to_owned()).map_err(|error| match error {
            ClaimsError::Unreadable { .. } => IntrospectionError::Unreadable,
            malformed => IntrospectionError::MalformedClaims(malformed),
        })?;
        match answer.get("active") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Ok(Err(Reason::Inactive.into())),
            _ => return Err(IntrospectionError::Unreadable),
        }
        let mut members = answer.as_map().clone();
        members.remove("active");
        // It is optional here, and rules over its subjects need it.
        let issuer = members.entry("iss");
        issuer.or_insert_with(|| self.issuer.as_str().into());
        let claims = Claims::from_value_with(Value::Object(members), &self.claim_names);
        let claims = claims.map_err(IntrospectionError::MalformedClaims)?;
        Ok(self.accept(claims, token, now))
    }

    fn accept(
        &self,
        claims: Claims,
        token: &BearerToken,
        now: UnixTime,
    ) -> Result<Accepted, Rejection> {
        if claims.issuer() != Some(&self.issuer) {
            return Err(Reason::WrongIssuer.into());
        }
        check_kind(&claims)?;
        let id = self.id(&claims, token);
        let named = |rejection: Rejection| rejection.token(id);
        self.check_audience(&claims).map_err(named)?;
        let window = self.check_times(&claims, now).map_err(named)?;
        let mut token = VerifiedToken::new(id, claims, self.leeway);
        for name in &self.rule_claims {
            let with_claim = token.with_rule_claim(name);
            token = with_claim.map_err(|error| named(error.into()))?;
        }
        if let Some(list) = &self.revocations {
            token = token.with_revocations(list.clone())?;
        }
        Ok((token, window))
    }

    /// That of a JWT is the one under which services that read it themselves know it: its signature may
    /// be written in other ways, so it is not part of the id.
    fn id(&self, claims: &Claims, token: &BearerToken) -> TokenId {
        let opaque = || TokenId::of_opaque(&self.issuer, &TokenHash::of(token.as_bytes()));
        let Some((signing_input, _)) = token.as_str().rsplit_once('.') else {
            return opaque();
        };
        if signing_input.split('.').count() != 2 {
            return opaque();
        }
        match claims.jwt_id() {
            Some(jwt_id) if !jwt_id.is_empty() => TokenId::of_jwt(&self.issuer, jwt_id),
            _ if has_header(signing_input) => TokenId::of_signing_input(signing_input),
            _ => opaque(),
        }
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), Rejection> {
        let is_ours = || self.audiences.iter().any(|ours| claims.has_audience(ours));
        match self.audiences.is_empty() || is_ours() {
            true => Ok(()),
            false if !claims.has("aud") => {
                Err(Rejection::new(Reason::MissingClaim).detail("the token lacks the claim aud"))
            }
            false => Err(Reason::WrongAudience.into()),
        }
    }

    fn check_times(&self, claims: &Claims, now: UnixTime) -> Result<Range<u64>, Rejection> {
        if claims.expires_at().is_none() && !self.allow_no_expiry {
            return Err(Rejection::new(Reason::Expired).detail("the token has no expiry"));
        }
        let window = window(claims, self.leeway);
        match now.as_secs() {
            now if now >= window.end => Err(Reason::Expired.into()),
            now if now < window.start => Err(Reason::NotYetValid.into()),
            _ => Ok(window),
        }
    }
}

/// Whether it begins with a JSON object in base64url, as a JWT does: an opaque token may have dots too.
fn has_header(signing_input: &str) -> bool {
    ["ey", "ew"]
        .iter()
        .any(|brace| signing_input.starts_with(brace))
}

/// Only access tokens that nobody has to prove possession of are bearer tokens. Servers also say that
/// refresh tokens are active, and tell them apart by members of their own (`token_use`; Keycloak: `typ`).
fn check_kind(answer: &Claims) -> Result<(), Rejection> {
    let text = |name| answer.get(name).and_then(Value::as_str);
    let is_bearer = |kind: &str| {
        ["bearer", "access_token"]
            .iter()
            .any(|known| kind.eq_ignore_ascii_case(known))
    };
    // Bound to a key (RFC 9449 §7.2, RFC 8705 §3).
    if answer.has("cnf") || text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("DPoP"))
    {
        return Err(Reason::Bound.into());
    }
    // Servers that tell refresh tokens apart by naming no type, such as oidc-provider, give those no
    // audience either.
    let is_unnamed = ["token_type", "token_use", "aud"]
        .iter()
        .all(|name| !answer.has(name));
    let is_other = is_unnamed
        || text("token_type").is_some_and(|kind| !is_bearer(kind))
        || text("token_use").is_some_and(|kind| !kind.starts_with("access"))
        || matches!(text("typ"), Some("Refresh" | "Offline" | "ID" | "Logout"));
    match is_other {
        true => Err(Reason::WrongType.into()),
        false => Ok(()),
    }
}
