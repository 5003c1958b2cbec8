//! How a verifier is configured.

mod context;
#[cfg(feature = "remote")]
mod fetch_config;
mod issuer;
mod issuer_settings;
mod key_config;
#[cfg(feature = "remote")]
mod remote;
#[cfg(feature = "remote")]
mod resolver;

use std::{fmt, sync::Arc, time::Duration};

use tower_revoke_core::{Clock, Revocations, retention};

#[cfg(feature = "remote")]
use self::fetch_config::FetchConfig;
#[cfg(feature = "remote")]
pub use self::resolver::{OneIssuer, TrustedIssuer};
pub(crate) use self::{context::BuildContext, issuer::IssuerConfig};
#[cfg(feature = "remote")]
use crate::resolver::{DynResolver, Limits};
use crate::{
    JwtVerifier, JwtVerifierError, backend,
    cache::TokenCache,
    issuers::{Issuer, Issuers},
    verifier::Inner,
};

/// Configures a [`JwtVerifier`]; [`JwtVerifier::issuer`] returns one. An issuer, an audience, keys and
/// a revocation list are required, or their absence must be stated.
///
/// Most settings apply to the issuer that was named last, by [`JwtVerifier::issuer`] or
/// [`and_issuer`](Self::and_issuer). Those marked *for all issuers* may be called anywhere.
///
/// # Examples
/// ```
/// use tower_revoke_jwt::{Algorithm, JwtVerifier};
/// # if cfg!(not(feature = "aws-lc-rs")) { return Ok(()) }
/// # let partner = tower_revoke_testing::TestIssuer::with("https://partner.example.net",
/// #     tower_revoke_testing::TestAlgorithm::ES256);
/// # let pem = partner.public_pem();
/// # let us = tower_revoke_testing::TestIssuer::new("https://id.example.com");
/// # let jwks = us.jwks().to_string();
///
/// let tokens = JwtVerifier::issuer("https://id.example.com")
///     .audience("orders")
///     .jwks(jwks)
///     .access_tokens_only()
///     .and_issuer("https://partner.example.net")
///     .audience("https://orders.example.com")
///     .public_pem(Algorithm::ES256, pem)
///     .without_revocations()
///     .build()?;
/// # Ok::<(), tower_revoke_jwt::JwtVerifierError>(())
/// ```
#[must_use = "nothing is verified until the verifier is built"]
pub struct JwtVerifierBuilder<S = AllIssuers> {
    /// The one that was named last.
    issuer: IssuerConfig,
    settings: S,
}

/// What a [`JwtVerifierBuilder`] has besides the issuer that was named last.
pub struct AllIssuers {
    /// The issuers that were named before.
    others: Vec<IssuerConfig>,
    leeway: Duration,
    max_token_bytes: usize,
    cache_capacity: usize,
    clock: Clock,
    /// `None` until it is set; `Some(None)` is no list.
    revocations: Option<Option<Arc<dyn Revocations>>>,
    #[cfg(feature = "remote")]
    fetch: FetchConfig,
    #[cfg(feature = "remote")]
    resolver: Option<Box<dyn DynResolver>>,
    #[cfg(feature = "remote")]
    limits: Limits,
}

impl Default for AllIssuers {
    fn default() -> Self {
        Self {
            others: Vec::new(),
            leeway: LEEWAY,
            max_token_bytes: MAX_TOKEN_BYTES,
            cache_capacity: CACHE_CAPACITY,
            clock: Clock::system(),
            revocations: None,
            #[cfg(feature = "remote")]
            fetch: FetchConfig::default(),
            #[cfg(feature = "remote")]
            resolver: None,
            #[cfg(feature = "remote")]
            limits: Limits::default(),
        }
    }
}

const LEEWAY: Duration = Duration::from_secs(30);
const MAX_TOKEN_BYTES: usize = 8_192;
const CACHE_CAPACITY: usize = 50_000;

impl JwtVerifier {
    /// Configures a verifier of the tokens of this issuer, whose keys are found by its metadata: short
    /// for [`issuer(…)`](Self::issuer) and [`discover()`](JwtVerifierBuilder::discover).
    ///
    /// # Examples
    /// ```
    /// # if cfg!(not(all(feature = "aws-lc-rs", feature = "https"))) { return Ok(()) }
    /// use tower_revoke_jwt::JwtVerifier;
    ///
    /// let tokens = JwtVerifier::discover("https://id.example.com")
    ///     .audience("orders")
    ///     .without_revocations() // or .revocations(list)
    ///     .build()?;
    /// // Before the service takes requests: tokens.ready().await?
    /// # Ok::<(), tower_revoke_jwt::JwtVerifierError>(())
    /// ```
    #[cfg(feature = "remote")]
    pub fn discover(issuer: impl Into<String>) -> JwtVerifierBuilder {
        Self::issuer(issuer).discover()
    }

    /// Configures a verifier of the tokens of this issuer: their `iss` must be exactly this.
    pub fn issuer(issuer: impl Into<String>) -> JwtVerifierBuilder {
        JwtVerifierBuilder {
            issuer: IssuerConfig::new(issuer.into()),
            settings: AllIssuers::default(),
        }
    }
}

impl JwtVerifierBuilder {
    /// Adds another issuer, with keys, audiences and rules of its own. The settings that follow apply
    /// to it.
    pub fn and_issuer(mut self, issuer: impl Into<String>) -> Self {
        let issuer = IssuerConfig::new(issuer.into());
        let before = std::mem::replace(&mut self.issuer, issuer);
        self.settings.others.push(before);
        self
    }

    /// *For all issuers:* rejects tokens that are revoked or spent by this list, and those with a life
    /// longer than its [`max_token_life`](Revocations::max_token_life) or an unknown one.
    pub fn revocations(mut self, list: impl Into<Arc<dyn Revocations>>) -> Self {
        self.settings.revocations = Some(Some(list.into()));
        self
    }

    /// *For all issuers:* checks no list. A token is valid until it expires.
    pub fn without_revocations(mut self) -> Self {
        self.settings.revocations = Some(None);
        self
    }

    /// *For all issuers:* sets how far clocks may differ, for `exp`, `nbf` and `iat`. Defaults to
    /// 30 s, and is at most 300 s ([`retention::MARGIN`]): stores keep nothing longer than that
    /// beyond a token's `exp`. Fractions of a second don't count.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.settings.leeway = leeway;
        self
    }

    /// *For all issuers:* sets the length of the longest token that is accepted. Defaults to 8,192.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_token_bytes = bytes;
        self
    }

    /// *For all issuers:* sets how many verified tokens are cached, so that their signatures are not
    /// verified again. Defaults to 50,000; with 0 nothing is cached. An entry takes about 1 to 2 KB:
    /// a keyed hash of the token and its claims, never the token.
    pub fn cache_capacity(mut self, tokens: usize) -> Self {
        self.settings.cache_capacity = tokens;
        self
    }

    /// *For all issuers:* verifies every token again. The list is checked either way.
    pub fn no_cache(self) -> Self {
        self.cache_capacity(0)
    }

    /// *For all issuers:* sets the clock. Defaults to the system's. Give the list the same one.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings.clock = clock;
        self
    }

    /// Reads the files, parses every key, and builds the verifier.
    ///
    /// # Errors
    /// [`JwtVerifierError`] if something is missing or can't work.
    pub fn build(self) -> Result<JwtVerifier, JwtVerifierError> {
        if !backend::IS_AVAILABLE {
            return Err(JwtVerifierError::NoBackend);
        }
        let settings = self.settings;
        let revocations = settings
            .revocations
            .ok_or(JwtVerifierError::MissingRevocations)?;
        if settings.leeway > retention::MARGIN {
            return Err(JwtVerifierError::LeewayTooLong {
                leeway: settings.leeway,
                max: retention::MARGIN,
            });
        }
        let mut configs = settings.others;
        configs.push(self.issuer);
        #[cfg(feature = "remote")]
        if settings.resolver.is_some() {
            // None was named, and nothing was set for one.
            configs.retain(|issuer| !issuer.is_default());
        }
        let context = BuildContext {
            clock: settings.clock.clone(),
            bounds_lives: (revocations.as_ref()).is_some_and(|it| it.max_token_life().is_some()),
            #[cfg(feature = "remote")]
            fetch: settings.fetch.checked(
                settings.resolver.is_some() || configs.iter().any(IssuerConfig::is_fetched),
            )?,
        };
        let mut configured: Vec<Issuer> = Vec::with_capacity(configs.len());
        for config in configs {
            let issuer = config.build(&context)?;
            if configured
                .iter()
                .any(|other: &Issuer| other.name == issuer.name)
            {
                return Err(JwtVerifierError::DuplicateIssuer(issuer.name));
            }
            configured.push(issuer);
        }
        let cache = match settings.cache_capacity {
            0 => None,
            capacity => Some(TokenCache::new(capacity).map_err(JwtVerifierError::NoRandomness)?),
        };
        Ok(JwtVerifier::new(Inner {
            issuers: Issuers {
                configured,
                #[cfg(feature = "remote")]
                resolved: match settings.resolver {
                    Some(resolver) => Some(context.resolved(resolver, settings.limits)?),
                    None => None,
                },
            },
            leeway: settings.leeway,
            max_token_bytes: settings.max_token_bytes,
            clock: settings.clock,
            revocations,
            cache,
        }))
    }
}

impl fmt::Debug for JwtVerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuers: Vec<_> = self.settings.others.iter().chain([&self.issuer]).collect();
        f.debug_struct("JwtVerifierBuilder")
            .field("issuers", &issuers)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AllIssuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllIssuers").finish_non_exhaustive()
    }
}
