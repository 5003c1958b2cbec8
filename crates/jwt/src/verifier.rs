//! The verifier: the order of the checks, and the cache of their result.

use std::{fmt, sync::Arc, time::Duration};

use tower_revoke_core::{
    Authenticated, BearerToken, Clock, ReadyError, Reason, Rejection, Revocations, TokenVerifier,
    UnixTime, VerifiedToken,
    internal::{CacheKey, caller, checked_caller, known_status},
};

use crate::{
    cache::{TokenCache, Verified},
    compact::{Compact, Header},
    issuers::Issuers,
    keys::{KeySet, candidates, has_key_id},
};

/// Verifies JWTs that are presented as bearer tokens: signature, claims, and the revocation list.
///
/// Clones share the keys and the cache. It needs no layer, and no runtime unless keys are fetched.
///
/// # Examples
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
#[derive(Clone)]
pub struct JwtVerifier {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) issuers: Issuers,
    pub(crate) leeway: Duration,
    pub(crate) max_token_bytes: usize,
    pub(crate) clock: Clock,
    pub(crate) revocations: Option<Arc<dyn Revocations>>,
    pub(crate) cache: Option<TokenCache>,
}

impl JwtVerifier {
    pub(crate) fn new(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    #[cfg(feature = "remote")]
    pub(crate) fn trusted_issuers(&self) -> &Issuers {
        &self.inner.issuers
    }

    #[cfg(all(test, feature = "aws-lc-rs"))]
    pub(crate) fn cached_tokens(&self) -> usize {
        self.inner.cache.as_ref().map_or(0, TokenCache::len)
    }

    #[cfg(all(test, feature = "aws-lc-rs"))]
    pub(crate) fn cached_version(&self, token: &BearerToken) -> Option<u64> {
        let cache = self.inner.cache.as_ref()?;
        let known = cache.get(&cache.key(token.as_bytes()))?;
        Some(known.key_set_version)
    }
}

impl TokenVerifier for JwtVerifier {
    /// Returns the result for a token that was verified before, if it has not expired, its key is
    /// still there, and the list knows its status without waiting.
    fn verify_cached(&self, token: &BearerToken) -> Option<Result<Authenticated, Rejection>> {
        let cache = self.inner.cache.as_ref()?;
        let known = self.inner.cached(cache, &cache.key(token.as_bytes()))?;
        let status = known_status(&known, self.inner.revocations.as_ref())?;
        Some(caller(known, status))
    }

    /// Returns the configured issuers, without those of a resolver.
    fn issuers(&self) -> Vec<String> {
        let issuers = self.inner.issuers.configured.iter();
        issuers.map(|issuer| issuer.name.clone()).collect()
    }

    async fn verify(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
        self.inner.verify(token, UnknownKey::Wait).await
    }

    /// As [`verify`](Self::verify), but waits for a fetch only if the issuer has no keys at all, and for
    /// a resolver only if it is not known whether the issuer is trusted.
    async fn verify_candidate(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
        self.inner.verify(token, UnknownKey::Reject).await
    }

    /// Waits until every issuer has keys, if some are fetched.
    async fn ready(&self) -> Result<(), ReadyError> {
        #[cfg(feature = "remote")]
        Self::ready(self).await?;
        Ok(())
    }
}

/// What to do with a token whose key is unknown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UnknownKey {
    /// Wait for a fetch that may bring the key.
    Wait,
    /// Reject the token, unless its issuer has no keys at all.
    Reject,
}

impl Inner {
    async fn verify(
        &self,
        token: &BearerToken,
        unknown_key: UnknownKey,
    ) -> Result<Authenticated, Rejection> {
        let token = self.verified(token, unknown_key).await?;
        checked_caller(token, self.revocations.as_ref()).await
    }

    /// A token that was verified before, if a new verification would have the same result.
    fn cached(&self, cache: &TokenCache, key: &CacheKey) -> Option<Arc<VerifiedToken>> {
        let known = cache.get(key)?;
        let Some(issuer) = self.issuers.by(&known.issuer) else {
            cache.remove(key);
            return None;
        };
        let now = self.clock.now();
        let keys = &issuer.keys;
        keys.refresh_if_due(&self.clock, now);
        let version = keys.version();
        if known.key_set_version != version {
            if !keys.has(known.key) {
                cache.remove(key);
                return None;
            }
            let confirmed = Verified {
                key_set_version: version,
                ..known.clone()
            };
            cache.insert(*key, confirmed);
        }
        known.window.contains(&now.as_secs()).then_some(known.token)
    }

    /// The token, if its signature and claims are valid: from the cache, or checked now.
    async fn verified(
        &self,
        token: &BearerToken,
        unknown_key: UnknownKey,
    ) -> Result<Arc<VerifiedToken>, Rejection> {
        let Some(cache) = &self.cache else {
            return Ok(self.check_with_newer_keys(token, unknown_key).await?.token);
        };
        let key = cache.key(token.as_bytes());
        if let Some(known) = self.cached(cache, &key) {
            return Ok(known);
        }
        // A rejected token leaves nothing behind.
        let verified = self.check_with_newer_keys(token, unknown_key).await?;
        let token = verified.token.clone();
        cache.insert(key, verified);
        Ok(token)
    }

    /// Checks all but the list. If the issuer is not known yet, or no key verifies the token, waits for
    /// what may be newer.
    async fn check_with_newer_keys(
        &self,
        token: &BearerToken,
        unknown_key: UnknownKey,
    ) -> Result<Verified, Rejection> {
        let missing = match self.check(token)? {
            Ok(verified) => return Ok(verified),
            Err(missing) => missing,
        };
        #[cfg(feature = "remote")]
        let missing = match (missing, &self.issuers.resolved) {
            (Missing::Issuer(issuer), Some(resolved)) => {
                resolved.resolve(&issuer).await?;
                match self.check(token)? {
                    Ok(verified) => return Ok(verified),
                    Err(missing) => missing,
                }
            }
            (missing, _) => missing,
        };
        let no_key = missing.key()?;
        if unknown_key == UnknownKey::Reject && !no_key.keys.current().is_empty() {
            return Err(no_key.reason.into());
        }
        let newer = no_key.keys.newer(no_key.version, no_key.issued_at).await;
        let mut reason = no_key.reason;
        if newer.is_changed {
            match self.check(token)? {
                Ok(verified) => return Ok(verified),
                Err(missing) => reason = missing.key()?.reason,
            }
        }
        Err(newer.unavailable.unwrap_or_else(|| reason.into()))
    }

    /// Checks all but the list, with what is known of its issuer. The inner error is what may be known
    /// later.
    fn check(&self, token: &BearerToken) -> Result<Result<Verified, Missing>, Rejection> {
        if token.len() > self.max_token_bytes {
            return Err(Reason::TokenTooLong.into());
        }
        let compact = Compact::split(token.as_str())?;
        let header = compact.header()?;
        let claims = compact.payload()?;
        let (issuer, issuer_ref) = match self.issuers.of(claims.issuer())? {
            Ok(found) => found,
            Err(missing) => return Ok(Err(missing)),
        };
        if !issuer.algorithms.contains(&header.algorithm) {
            return Err(Reason::AlgorithmNotAllowed.into());
        }
        issuer.rules.check_header(&header)?;
        let now = self.clock.now();
        issuer.keys.refresh_if_due(&self.clock, now);
        let signature = compact.signature()?;
        let signed = Signed {
            header: &header,
            message: compact.signing_input.as_bytes(),
            signature: &signature,
            issued_at: claims.issued_at(),
        };
        let (key, key_set_version) = match signed.verify(&issuer.keys, &self.clock)? {
            Ok(verified) => verified,
            Err(no_key) => return Ok(Err(Missing::Key(no_key))),
        };
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
        Ok(Ok(Verified {
            token: Arc::new(token),
            window,
            issuer: issuer_ref,
            key,
            key_set_version,
        }))
    }
}

/// What a token lacks, and what may be there later.
pub(crate) enum Missing {
    Key(NoKey),
    /// A resolver has to say whether this issuer is trusted.
    #[cfg(feature = "remote")]
    Issuer(String),
}

impl Missing {
    /// The key that it lacks. An issuer that has been asked about is lacking only if it was forgotten
    /// since.
    fn key(self) -> Result<NoKey, Rejection> {
        match self {
            Self::Key(no_key) => Ok(no_key),
            #[cfg(feature = "remote")]
            Self::Issuer(_) => Err(Reason::Unavailable.into()),
        }
    }
}

/// No key of this version of the key set verifies a token, and none has its `kid`: a newer key may.
pub(crate) struct NoKey {
    keys: Arc<KeySet>,
    version: u64,
    reason: Reason,
    /// Its `iat`, which is not verified.
    issued_at: Option<UnixTime>,
}

struct Signed<'a> {
    header: &'a Header,
    message: &'a [u8],
    signature: &'a [u8],
    issued_at: Option<UnixTime>,
}

impl Signed<'_> {
    /// Returns the serial number of the key that verifies it, and the version of the key set.
    fn verify(
        &self,
        keys: &Arc<KeySet>,
        clock: &Clock,
    ) -> Result<Result<(u64, u64), NoKey>, Rejection> {
        let version = keys.version();
        match self.verify_once(keys, version)? {
            Err(no_key)
                if no_key.reason == Reason::UnknownKey
                    && keys.refresh_for_unknown_key(clock, version) =>
            {
                self.verify_once(keys, keys.version())
            }
            verified => Ok(verified),
        }
    }

    /// `version` must be read before the call.
    fn verify_once(
        &self,
        keys: &Arc<KeySet>,
        version: u64,
    ) -> Result<Result<(u64, u64), NoKey>, Rejection> {
        let current = keys.current();
        let key_id = self.header.key_id.as_deref();
        let verified = candidates(&current, self.header.algorithm, key_id).and_then(|mut keys| {
            keys.find(|key| key.verifies(self.message, self.signature))
                .map(|key| key.serial())
                .ok_or(Reason::BadSignature)
        });
        match verified {
            Ok(serial) => Ok(Ok((serial, version))),
            Err(reason) if has_key_id(&current, key_id) => Err(reason.into()),
            Err(reason) => Ok(Err(NoKey {
                keys: keys.clone(),
                version,
                reason,
                issued_at: self.issued_at,
            })),
        }
    }
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtVerifier")
            .field("issuers", &self.issuers())
            .finish_non_exhaustive()
    }
}
