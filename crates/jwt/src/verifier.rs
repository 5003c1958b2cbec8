//! The verifier: how the checks follow each other, and what is kept of them.

use std::{fmt, sync::Arc, time::Duration};

use tower_revoke_core::{
    Authenticated, BearerToken, Clock, Reason, Rejection, Revocations, TokenStatus, TokenVerifier,
    UnixTime, VerifiedToken, internal::IssuerDigests,
};

use crate::{
    JwtVerifierBuilder,
    algorithm::AlgorithmSet,
    cache::{TokenCache, TokenHash, Verified},
    compact::{Compact, Header},
    keys::{KeySet, candidates, names},
    rules::Rules,
};

/// Verifies JWTs that were sent as bearer tokens: signature, claims, and the revocation list.
///
/// ```
/// use tower_revoke_core::{BearerToken, Reason, TokenVerifier};
/// use tower_revoke_jwt::JwtVerifier;
/// use tower_revoke_testing::TestIssuer;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// # if cfg!(not(feature = "aws-lc-rs")) { return Ok(()) }
/// # let folder = tempfile::tempdir()?;
/// # let keys = folder.path().join("keys.json");
/// # let id = TestIssuer::new("https://id.example.com");
/// # id.write_jwks(&keys)?;
/// let tokens = JwtVerifier::issuer("https://id.example.com")
///     .audience("orders")
///     .jwks_file(keys)
///     .without_revocations() // or .revocations(list)
///     .build()?;
///
/// let good = BearerToken::new(&id.token().audience("orders").sign())?;
/// let caller = tokens.verify(&good).await?;
/// assert_eq!(caller.subject(), Some("ann"));
///
/// let foreign = BearerToken::new(&id.token().audience("payments").sign())?;
/// let rejected = tokens.verify(&foreign).await.unwrap_err();
/// assert_eq!(rejected.reason(), Reason::WrongAudience);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Clones share keys and cache. It needs no layer, and no runtime unless keys are fetched: `RequireBearerLayer` of
/// tower-revoke-bearer is one way to ask it.
#[derive(Clone)]
pub struct JwtVerifier {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) issuers: Vec<TrustedIssuer>,
    pub(crate) leeway: Duration,
    pub(crate) max_token_bytes: usize,
    pub(crate) clock: Clock,
    pub(crate) revocations: Option<Arc<dyn Revocations>>,
    pub(crate) cache: Option<TokenCache>,
}

/// An issuer, with the keys that are its own (RFC 8725 §3.8).
pub(crate) struct TrustedIssuer {
    pub(crate) name: String,
    pub(crate) digests: IssuerDigests,
    pub(crate) algorithms: AlgorithmSet,
    pub(crate) rules: Rules,
    pub(crate) keys: Arc<KeySet>,
}

impl JwtVerifier {
    /// Begins with the issuer whose tokens are taken; `iss` must be exactly this.
    pub fn issuer(issuer: impl Into<String>) -> JwtVerifierBuilder {
        JwtVerifierBuilder::new(issuer.into())
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    #[cfg(feature = "remote")]
    pub(crate) fn issuers(&self) -> &[TrustedIssuer] {
        &self.inner.issuers
    }

    #[cfg(all(test, feature = "aws-lc-rs"))]
    pub(crate) fn cached_tokens(&self) -> usize {
        self.inner.cache.as_ref().map_or(0, TokenCache::len)
    }

    #[cfg(all(test, feature = "aws-lc-rs"))]
    pub(crate) fn cached_generation(&self, token: &BearerToken) -> Option<u64> {
        let cache = self.inner.cache.as_ref()?;
        let known = cache.get(&cache.hash(token.as_bytes()))?;
        Some(known.version)
    }
}

impl TokenVerifier for JwtVerifier {
    /// A token that was verified before, is within its time, whose key is still there, and of
    /// which the list knows without waiting how it stands.
    fn verify_cached(&self, token: &BearerToken) -> Option<Result<Authenticated, Rejection>> {
        let cache = self.inner.cache.as_ref()?;
        let hash = cache.hash(token.as_bytes());
        let known = self.inner.known(cache, &hash)?;
        let status = self.inner.known_status(&known)?;
        Some(answer(known, status))
    }

    async fn verify(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
        self.inner.verify(token, Missing::IsAwaited).await
    }

    /// As [`verify`](Self::verify), with the keys that are there. Only an issuer that has none at
    /// all is waited for.
    async fn verify_candidate(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
        self.inner.verify(token, Missing::IsRejected).await
    }
}

/// What becomes of a token whose key is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// It waits for a fetch that may bring the key.
    IsAwaited,
    /// It is rejected.
    IsRejected,
}

fn answer(token: Arc<VerifiedToken>, status: TokenStatus) -> Result<Authenticated, Rejection> {
    let reason = match status {
        TokenStatus::Valid => return Ok(Authenticated::new(token)),
        TokenStatus::Revoked => Reason::Revoked,
        TokenStatus::Spent => Reason::Spent,
    };
    Err(Rejection::new(reason).token(token.id()))
}

impl Inner {
    async fn verify(
        &self,
        token: &BearerToken,
        missing: Missing,
    ) -> Result<Authenticated, Rejection> {
        let token = self.verified(token, missing).await?;
        let status = match (self.known_status(&token), &self.revocations) {
            (Some(status), _) => status,
            (None, Some(list)) => list
                .status(&token)
                .await
                .map_err(|error| Rejection::from(error).token(token.id()))?,
            (None, None) => TokenStatus::Valid,
        };
        answer(token, status)
    }

    /// How a token stands, if that is known without waiting. Without a list all are good.
    fn known_status(&self, token: &VerifiedToken) -> Option<TokenStatus> {
        match &self.revocations {
            Some(list) => list.known_status(token),
            None => Some(TokenStatus::Valid),
        }
    }

    /// A token that was verified before, if a new verification would find the same.
    fn known(&self, cache: &TokenCache, hash: &TokenHash) -> Option<Arc<VerifiedToken>> {
        let known = cache.get(hash)?;
        let now = self.clock.now();
        let keys = &self.issuers.get(known.issuer)?.keys;
        keys.look(&self.clock, now);
        let version = keys.version();
        if known.version != version {
            if !keys.has(known.key) {
                cache.forget(hash);
                return None;
            }
            let confirmed = Verified {
                version,
                ..known.clone()
            };
            cache.put(*hash, confirmed);
        }
        known.window.contains(&now.as_secs()).then_some(known.token)
    }

    /// The token with its signature and claims found good, now or before.
    async fn verified(
        &self,
        token: &BearerToken,
        missing: Missing,
    ) -> Result<Arc<VerifiedToken>, Rejection> {
        let Some(cache) = &self.cache else {
            return Ok(self.check_with_newer_keys(token, missing).await?.token);
        };
        let hash = cache.hash(token.as_bytes());
        if let Some(known) = self.known(cache, &hash) {
            return Ok(known);
        }
        // A token that is rejected leaves nothing behind.
        let verified = self.check_with_newer_keys(token, missing).await?;
        let token = verified.token.clone();
        cache.put(hash, verified);
        Ok(token)
    }

    /// Everything but the list. Where no key verifies the token, it waits for those that may.
    async fn check_with_newer_keys(
        &self,
        token: &BearerToken,
        missing: Missing,
    ) -> Result<Verified, Rejection> {
        match self.check(token) {
            Ok(verified) => Ok(verified),
            Err(Rejected::For(rejection)) => Err(rejection),
            Err(Rejected::ByKeys { keys, reason, .. })
                if missing == Missing::IsRejected && !keys.current().is_empty() =>
            {
                Err(reason.into())
            }
            Err(Rejected::ByKeys {
                keys,
                version,
                reason,
                issued_at,
            }) => {
                let newer = keys.newer(version, issued_at).await;
                let reason = match newer.is_changed.then(|| self.check(token)) {
                    None => reason,
                    Some(Ok(verified)) => return Ok(verified),
                    Some(Err(Rejected::For(rejection))) => return Err(rejection),
                    Some(Err(Rejected::ByKeys { reason, .. })) => reason,
                };
                Err(newer.unavailable.unwrap_or_else(|| reason.into()))
            }
        }
    }

    /// Everything but the list, with the keys that are there.
    fn check(&self, token: &BearerToken) -> Result<Verified, Rejected<'_>> {
        if token.len() > self.max_token_bytes {
            return Err(Rejected::For(Reason::TokenTooLong.into()));
        }
        let compact = Compact::split(token.as_str())?;
        let header = compact.header()?;
        let claims = compact.payload()?;
        let (number, issuer) = self.issuer_of(claims.issuer())?;
        if !issuer.algorithms.contains(header.algorithm) {
            return Err(Rejected::For(Reason::AlgorithmNotAllowed.into()));
        }
        issuer.rules.check_header(&header)?;
        let now = self.clock.now();
        issuer.keys.look(&self.clock, now);
        let signature = compact.signature()?;
        let signed = Signed {
            header: &header,
            message: compact.signing_input.as_bytes(),
            signature: &signature,
            issued_at: claims.issued_at(),
        };
        let (key, version) = signed.verify(&issuer.keys, &self.clock)?;
        let (token, window) = issuer.rules.check_claims(
            claims,
            &issuer.digests,
            compact.signing_input,
            now,
            self.leeway,
        )?;
        let token = match &self.revocations {
            Some(list) => token.with_revocations(list.clone())?,
            None => token,
        };
        Ok(Verified {
            token: Arc::new(token),
            window,
            issuer: number,
            key,
            version,
        })
    }

    /// `iss`, which nobody has verified yet, only selects whose keys are asked: a token that lies
    /// here fails there.
    fn issuer_of(&self, claim: Option<&str>) -> Result<(usize, &TrustedIssuer), Rejection> {
        let claim = claim.ok_or_else(|| {
            Rejection::new(Reason::MissingClaim).detail("the token lacks the claim iss")
        })?;
        self.issuers
            .iter()
            .enumerate()
            .find(|(_, issuer)| claim == issuer.name)
            .ok_or_else(|| Reason::WrongIssuer.into())
    }
}

/// Why a token does not pass.
enum Rejected<'a> {
    For(Rejection),
    /// None of the issuer's keys verifies it, and none has the `kid` that it names: a key that is
    /// newer than this version might.
    ByKeys {
        keys: &'a Arc<KeySet>,
        version: u64,
        reason: Reason,
        /// Its `iat`, which nobody has verified.
        issued_at: Option<UnixTime>,
    },
}

impl From<Rejection> for Rejected<'_> {
    fn from(rejection: Rejection) -> Self {
        Self::For(rejection)
    }
}

struct Signed<'a> {
    header: &'a Header,
    message: &'a [u8],
    signature: &'a [u8],
    issued_at: Option<UnixTime>,
}

impl Signed<'_> {
    /// The serial of the key that verifies it, and the version of the set in which it stood.
    fn verify<'k>(&self, keys: &'k Arc<KeySet>, clock: &Clock) -> Result<(u64, u64), Rejected<'k>> {
        let version = keys.version();
        match self.verify_once(keys, version) {
            Err(Rejected::ByKeys {
                reason: Reason::UnknownKey,
                ..
            }) if keys.look_anew(clock, version) => self.verify_once(keys, keys.version()),
            answer => answer,
        }
    }

    /// `version` was read before.
    fn verify_once<'k>(
        &self,
        keys: &'k Arc<KeySet>,
        version: u64,
    ) -> Result<(u64, u64), Rejected<'k>> {
        let current = keys.current();
        let key_id = self.header.key_id.as_deref();
        let verified = candidates(&current, self.header.algorithm, key_id).and_then(|mut keys| {
            keys.find(|key| key.verifies(self.message, self.signature))
                .map(|key| key.serial())
                .ok_or(Reason::BadSignature)
        });
        match verified {
            Ok(serial) => Ok((serial, version)),
            Err(reason) if names(&current, key_id) => Err(Rejected::For(reason.into())),
            Err(reason) => Err(Rejected::ByKeys {
                keys,
                version,
                reason,
                issued_at: self.issued_at,
            }),
        }
    }
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuers: Vec<_> = self
            .inner
            .issuers
            .iter()
            .map(|issuer| &issuer.name)
            .collect();
        f.debug_struct("JwtVerifier")
            .field("issuers", &issuers)
            .finish_non_exhaustive()
    }
}
