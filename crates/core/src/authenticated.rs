//! The verified token, as caches keep it and as a request carries it.

use std::{
    any::{Any, TypeId},
    fmt,
    ops::Deref,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::de::DeserializeOwned;

use crate::{
    BearerToken, Claims, ClaimsError, IssuerDigests, KeyDigest, Reason, Rejection, RejectionFormat,
    RevocationKey, Revocations, TokenId, UnixTime, retention,
};

/// A token whose signature and claims were found good: what verifiers keep, and what a
/// revocation list is asked about.
pub struct VerifiedToken {
    id: TokenId,
    claims: Claims,
    leeway: Duration,
    keys: Vec<KeyDigest>,
    revocations: Option<Arc<dyn Revocations>>,
    known_good: CachedStatus,
    note: OnceLock<Box<dyn Any + Send + Sync>>,
    typed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// How many keys concern a token, if no claims are chosen besides.
const KEYS: usize = 5;

impl VerifiedToken {
    /// `leeway` is the clock skew that the verifier allows: the token may be used until `exp` +
    /// leeway. A leeway above [`retention::MARGIN`] counts as that: stores keep nothing for longer.
    pub fn new(id: TokenId, claims: Claims, leeway: Duration) -> Self {
        let issuer = claims.issuer().map(IssuerDigests::new);
        Self::with_digests(id, claims, leeway, issuer.as_ref())
    }

    /// As [`new`](Self::new), for a token of this issuer.
    pub fn of_issuer(
        id: TokenId,
        claims: Claims,
        leeway: Duration,
        issuer: &IssuerDigests,
    ) -> Self {
        match claims.issuer() == Some(issuer.name()) {
            true => Self::with_digests(id, claims, leeway, Some(issuer)),
            false => Self::new(id, claims, leeway),
        }
    }

    fn with_digests(
        id: TokenId,
        claims: Claims,
        leeway: Duration,
        issuer: Option<&IssuerDigests>,
    ) -> Self {
        let mut keys = Vec::with_capacity(KEYS);
        keys.push(KeyDigest::of_token(id));
        if let Some(issuer) = issuer {
            keys.push(issuer.key());
            keys.extend(claims.subject().map(|value| issuer.subject(value)));
            keys.extend(claims.client().map(|value| issuer.client(value)));
            keys.extend(claims.session().map(|value| issuer.session(value)));
        }
        Self {
            id,
            claims,
            leeway: leeway.min(retention::MARGIN),
            keys,
            revocations: None,
            known_good: CachedStatus::default(),
            note: OnceLock::new(),
            typed: OnceLock::new(),
        }
    }

    /// Lets rules over the claim `name` concern this token, see [`RevocationKey::claim`].
    ///
    /// # Errors
    /// [`ClaimsError::WrongType`] if the token carries the claim and it is no string: such a token
    /// can't be told apart by a rule, and must be rejected.
    pub fn with_rule_claim(mut self, name: &str) -> Result<Self, ClaimsError> {
        if let Some(value) = self.claims.get(name) {
            let value = value
                .as_str()
                .ok_or_else(|| ClaimsError::WrongType(name.to_owned()))?;
            let issuer = self.claims.issuer().unwrap_or_default();
            self.keys.push(KeyDigest::of_claim(issuer, name, value));
        }
        Ok(self)
    }

    /// Names the list that this token was, and will be, checked against.
    ///
    /// # Errors
    /// The list has a [`max_token_life`](Revocations::max_token_life), and the token lives longer
    /// ([`Reason::LifeTooLong`]) or doesn't say how long ([`Reason::MissingClaim`]): a rule that
    /// revokes it may be purged while it is still valid.
    pub fn with_revocations(
        mut self,
        revocations: Arc<dyn Revocations>,
    ) -> Result<Self, Rejection> {
        if let Some(life) = revocations.max_token_life() {
            self.check_life(life)
                .map_err(|rejection| rejection.token(self.id))?;
        }
        self.revocations = Some(revocations);
        Ok(self)
    }

    fn check_life(&self, max: Duration) -> Result<(), Rejection> {
        let missing = |claim| {
            Rejection::new(Reason::MissingClaim)
                .detail(format!("the token lacks the claim {claim}"))
        };
        let expires_at = self.claims.expires_at().ok_or_else(|| missing("exp"))?;
        let issued_at = self.claims.issued_at().ok_or_else(|| missing("iat"))?;
        if expires_at > issued_at.saturating_add(max) {
            return Err(Reason::LifeTooLong.into());
        }
        Ok(())
    }

    /// Under what the token is listed.
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// What it says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The first second at which its verifier no longer accepts it: `exp` + leeway. `None`: it never
    /// expires.
    pub fn usable_until(&self) -> Option<UnixTime> {
        let exp = self.claims.expires_at()?;
        Some(exp.saturating_add(self.leeway))
    }

    /// Until when stores keep what they know of it, see [`retention::of_token`]; `None`: for ever.
    pub fn retained_until(&self) -> Option<UnixTime> {
        retention::of_token(self.claims.expires_at())
    }

    /// Whether it has expired: a valid token's `exp` is strictly after now, leeway allowed
    /// (RFC 7519 §4.1.4).
    pub fn is_expired(&self, now: UnixTime) -> bool {
        retention::has_ended(self.usable_until(), now)
    }

    /// The keys that concern it: its own first, then its issuer's, subject's, client's, session's
    /// and those of chosen claims.
    pub fn keys(&self) -> &[KeyDigest] {
        &self.keys
    }

    /// Returns whose token it is, where callers are limited: the digest of its issuer's subject,
    /// or of its client if it names no subject, or else of the token itself.
    pub fn holder(&self) -> KeyDigest {
        let claims = &self.claims;
        let is_named = claims.subject().or_else(|| claims.client()).is_some();
        // After those of the token and of the issuer.
        let named = self
            .keys
            .get(2)
            .filter(|_| is_named && claims.issuer().is_some());
        named.copied().unwrap_or(KeyDigest::of_token(self.id))
    }

    /// Whether a rule over all tokens issued at or before `time` concerns this one. A token that
    /// doesn't say when it was issued is concerned by all; a leeway is allowed for an issuer whose
    /// clock runs ahead.
    pub fn issued_at_or_before(&self, time: UnixTime) -> bool {
        self.claims
            .issued_at()
            .is_none_or(|iat| iat <= time.saturating_add(self.leeway))
    }

    /// The list that it is checked against.
    pub fn revocations(&self) -> Option<&Arc<dyn Revocations>> {
        self.revocations.as_ref()
    }

    /// When a list last found it good.
    pub fn known_good(&self) -> &CachedStatus {
        &self.known_good
    }

    /// A place where one layer keeps what it found out about this token, so that it need not find
    /// it out with the next request. Whoever comes first has it: an `Any` of another type, or with
    /// another layer's mark, is somebody else's.
    pub fn note(&self) -> &OnceLock<Box<dyn Any + Send + Sync>> {
        &self.note
    }

    fn typed<C: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<C>, ClaimsError> {
        let kept = self.typed.get().cloned().map(Arc::downcast);
        if let Some(Ok(claims)) = kept {
            return Ok(claims);
        }
        let claims = Arc::new(self.claims.parse::<C>()?);
        // Kept for the first type that is asked for: programs have one.
        let _ = self.typed.set(claims.clone());
        Ok(claims)
    }
}

impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken")
            .field("id", &self.id)
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

/// A list's last good answer about one token, kept beside the token so that the next request
/// needs no look-up. Only a list writes it, and only "good" is ever kept.
#[derive(Debug, Default)]
pub struct CachedStatus {
    /// The list's version when it was asked, plus one; 0: never.
    version: AtomicU64,
    asked_at_millis: AtomicU64,
}

impl CachedStatus {
    /// Keeps a good answer: `version` and `asked_at` (the clock's uptime) were read, in this order
    /// or the other, *before* the store was asked.
    pub fn keep(&self, version: u64, asked_at: Duration) {
        let millis = u64::try_from(asked_at.as_millis()).unwrap_or(u64::MAX);
        self.asked_at_millis.store(millis, Ordering::Release);
        self.version
            .store(version.wrapping_add(1), Ordering::Release);
    }

    /// Whether no good answer was kept so far.
    pub fn is_empty(&self) -> bool {
        self.version.load(Ordering::Relaxed) == 0
    }

    /// The uptime at which the list was asked, if its version is still `version`.
    ///
    /// Writers may overlap, so the time read here may be another good answer's; it is never one
    /// that was asked before the version was.
    pub fn asked_at(&self, version: u64) -> Option<Duration> {
        (self.version.load(Ordering::Acquire) == version.wrapping_add(1))
            .then(|| Duration::from_millis(self.asked_at_millis.load(Ordering::Acquire)))
    }
}

/// The verified token in a request's extensions; as an extractor, typed by the user.
///
/// It derefs to the claims, so a handler reads them as fields of its own type:
///
/// ```
/// use serde::Deserialize;
/// use tower_revoke_core::Authenticated;
///
/// #[derive(Deserialize)]
/// struct MyClaims {
///     sub: String,
/// }
///
/// async fn orders(caller: Authenticated<MyClaims>) -> String {
///     format!("orders of {}", caller.sub)
/// }
/// ```
pub struct Authenticated<C = Claims> {
    token: Arc<VerifiedToken>,
    /// `None`: the token's own, and `C` is `Claims`.
    typed: Option<Arc<C>>,
    /// Here and not beside it in the extensions: one entry is cheaper than two.
    checked: Option<Arc<BearerChecked>>,
}

impl Authenticated {
    /// Only for what was verified: whoever holds one is taken for its subject.
    pub fn new(token: Arc<VerifiedToken>) -> Self {
        Self {
            token,
            typed: None,
            checked: None,
        }
    }

    /// With what a bearer layer leaves for inner layers.
    #[must_use]
    pub fn with_checked(mut self, checked: BearerChecked) -> Self {
        self.checked = Some(Arc::new(checked));
        self
    }

    /// Who calls, as the bearer layer left it in the request.
    ///
    /// # Errors
    /// [`Reason::NoToken`] if nobody is there, [`Reason::Misconfigured`] if no bearer layer looked.
    pub fn of(extensions: &http::Extensions) -> Result<&Self, Rejection> {
        match extensions.get::<Self>() {
            Some(caller) => Ok(caller),
            None if BearerChecked::of(extensions).is_some() => Err(Reason::NoToken.into()),
            None => Err(Rejection::layer_missing("RequireBearerLayer")),
        }
    }

    /// The same token with its claims read as `C`, once per token.
    ///
    /// # Errors
    /// [`ClaimsError::DoNotFit`] if the claims are no `C`.
    pub fn typed<C>(&self) -> Result<Authenticated<C>, ClaimsError>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        let is_untyped = TypeId::of::<C>() == TypeId::of::<Claims>();
        Ok(Authenticated {
            typed: match is_untyped {
                true => None,
                false => Some(self.token.typed()?),
            },
            token: self.token.clone(),
            // What a handler keeps for longer than the request doesn't hold the token as it came.
            checked: None,
        })
    }
}

impl<C: 'static> Authenticated<C> {
    /// The claims, as `C`.
    pub fn claims(&self) -> &C {
        let own = || {
            let claims: &dyn Any = &self.token.claims;
            claims.downcast_ref()
        };
        let claims = self.typed.as_deref().or_else(own);
        claims.expect("claims of any other type than the token's own are kept beside it")
    }
}

impl<C> Authenticated<C> {
    /// All that is known of the token.
    pub fn token(&self) -> &Arc<VerifiedToken> {
        &self.token
    }

    /// Under what the token is listed.
    pub fn token_id(&self) -> TokenId {
        self.token.id
    }

    /// `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.token.claims.issuer()
    }

    /// `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.token.claims.subject()
    }

    /// `exp`.
    pub fn expires_at(&self) -> Option<UnixTime> {
        self.token.claims.expires_at()
    }

    /// Whether the token carries `scope`.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.token.claims.has_scope(scope)
    }

    /// The key under which all tokens of this token's subject are revoked: "log out everywhere".
    /// `None` without `iss` and `sub`.
    pub fn subject_key(&self) -> Option<RevocationKey> {
        Some(RevocationKey::subject(self.issuer()?, self.subject()?))
    }
}

impl<C: 'static> Deref for Authenticated<C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.claims()
    }
}

impl<C> Clone for Authenticated<C> {
    fn clone(&self) -> Self {
        Self {
            token: self.token.clone(),
            typed: self.typed.clone(),
            checked: self.checked.clone(),
        }
    }
}

impl<C> fmt::Debug for Authenticated<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated")
            .field("token", &self.token.id)
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

/// Left in the request by a bearer layer, whether or not it found a token: inner layers reject in
/// the same format, tell "nobody checked" from "nobody is there", and find the token wherever it
/// was presented. It stands in the extensions, or in the [`Authenticated`] there:
/// [`of`](Self::of) finds it. Who replaces that caller, or takes it away, hands it on: by
/// [`Authenticated::with_checked`], or in the extensions.
#[derive(Clone, Debug)]
pub struct BearerChecked {
    format: Arc<RejectionFormat>,
    token: Option<BearerToken>,
}

impl BearerChecked {
    /// `token`: as it was presented, good or (in a layer that only observes) bad.
    pub fn new(format: Arc<RejectionFormat>, token: Option<BearerToken>) -> Self {
        Self { format, token }
    }

    /// What the bearer layer left that the request came through.
    pub fn of(extensions: &http::Extensions) -> Option<&Self> {
        let caller = extensions.get::<Authenticated>();
        let beside_caller = caller.and_then(|caller| caller.checked.as_deref());
        beside_caller.or_else(|| extensions.get())
    }

    /// The token as it was presented.
    pub fn token(&self) -> Option<&BearerToken> {
        self.token.as_ref()
    }

    /// The format of the bearer layer that the request came through; the default if there is none.
    pub fn format_of(extensions: &http::Extensions) -> Arc<RejectionFormat> {
        Self::of(extensions)
            .map_or_else(RejectionFormat::of_nobody, |checked| checked.format.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_answer_is_kept_under_its_stamp() {
        let known = CachedStatus::default();
        assert!(known.is_empty());
        assert_eq!(known.asked_at(3), None);
        let asked_at = Duration::from_millis(7);
        known.keep(3, asked_at);
        assert!(!known.is_empty());
        assert_eq!(known.asked_at(3), Some(asked_at));
        assert_eq!(known.asked_at(4), None);
    }
}
