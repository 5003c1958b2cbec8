//! The settings for issuers that a resolver trusts.

use std::{fmt, sync::Arc, time::Duration};

use tower_revoke_core::Clock;

use super::{BuildContext, JwtVerifierBuilder, issuer::IssuerConfig};
use crate::{
    IssuerResolver, JwtVerifier, JwtVerifierError,
    issuers::Issuer,
    resolver::{DynResolver, Limits, RateLimit, ResolvedIssuers},
};

/// An issuer that an [`IssuerResolver`] trusts: its name, keys and rules, with the settings of the same
/// names that a [`JwtVerifierBuilder`] has for an issuer. An audience and keys are required.
///
/// Its settings are kept as long as it is, a shared secret too.
///
/// # Examples
/// ```
/// use tower_revoke_core::{Endpoint, EndpointError};
/// use tower_revoke_jwt::TrustedIssuer;
///
/// fn of(customer: &str) -> Result<TrustedIssuer, EndpointError> {
///     // The keys of all customers are at one place, which is known.
///     let keys = Endpoint::new("https://id.example.com/keys")?;
///     Ok(TrustedIssuer::new(format!("https://id.example.com/{customer}"))
///         .jwks_url(keys)
///         .audience("orders")
///         .access_tokens_only())
/// }
/// # of("acme")?;
/// # Ok::<(), EndpointError>(())
/// ```
pub type TrustedIssuer = JwtVerifierBuilder<OneIssuer>;

/// What tells a [`TrustedIssuer`] from the builder of a verifier.
#[derive(Debug)]
pub struct OneIssuer(());

impl JwtVerifierBuilder<OneIssuer> {
    /// Names an issuer, whose keys and rules are to be set.
    ///
    /// With [`discover`](JwtVerifierBuilder::discover) its metadata is fetched from this URL: don't make
    /// it of an `iss` that nothing has checked.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            issuer: IssuerConfig::new(issuer.into()),
            settings: OneIssuer(()),
        }
    }

    pub(crate) fn into_config(self) -> IssuerConfig {
        self.issuer
    }
}

impl fmt::Debug for JwtVerifierBuilder<OneIssuer> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TrustedIssuer").field(&self.issuer).finish()
    }
}

impl JwtVerifier {
    /// Configures a verifier of the tokens of issuers that `resolver` trusts.
    /// [`and_issuer`](JwtVerifierBuilder::and_issuer) adds those that are known now.
    pub fn issuer_resolver(resolver: impl IssuerResolver) -> JwtVerifierBuilder {
        Self::issuer("").issuer_resolver(resolver)
    }
}

/// # Issuers that are not known at build time
impl JwtVerifierBuilder {
    /// Asks `resolver` about issuers that are not named. It has the last word on who is trusted, see
    /// [`IssuerResolver`].
    pub fn issuer_resolver(mut self, resolver: impl IssuerResolver) -> Self {
        self.settings.resolver = Some(Box::new(resolver));
        self
    }

    /// Sets how many issuers are kept that the resolver trusts. Defaults to 1,000. If more are in use,
    /// the one with the oldest answer is forgotten, and asked about again.
    ///
    /// An issuer whose keys are fetched has a task that fetches them. One that has not been used for
    /// [`issuer_max_age`](Self::issuer_max_age) is forgotten when the next answer comes.
    pub fn issuer_capacity(mut self, issuers: usize) -> Self {
        self.settings.limits.capacity = issuers;
        self
    }

    /// Sets how long it counts that the resolver trusts an issuer, from when it was asked. Defaults to
    /// 10 minutes, and is at most a year. This bounds how long an issuer is accepted that is no longer trusted; to reject it
    /// at once, call [`JwtVerifier::forget_issuer`].
    ///
    /// From half of it on, the next token of the issuer asks again in the background. If there is no
    /// answer until its end, the tokens of the issuer are rejected with 503.
    pub fn issuer_max_age(mut self, max_age: Duration) -> Self {
        self.settings.limits.max_age = max_age;
        self
    }

    /// Sets how often the resolver may be asked about the same issuer, and so how long it counts that
    /// one is not trusted. Defaults to 10 s, and is at most a year.
    pub fn issuer_retry_interval(mut self, interval: Duration) -> Self {
        self.settings.limits.retry_interval = interval;
        self
    }

    /// Sets how often in a second tokens may make the verifier ask about an issuer, or fetch the keys
    /// of one that the resolver trusts; as often at once. Defaults to 50. Beyond it, tokens that need
    /// either are rejected with 503. Tokens of issuers whose keys are here are not affected, since
    /// trusted issuers are asked about again whatever the rate.
    pub fn issuer_lookups_per_second(mut self, lookups: u32) -> Self {
        self.settings.limits.lookups_per_second = lookups;
        self
    }
}

impl BuildContext {
    pub(crate) fn build(&self, issuer: IssuerConfig) -> Result<Issuer, JwtVerifierError> {
        issuer.build(self)
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How long a question to the resolver may take.
    pub(crate) fn fetch_timeout(&self) -> Duration {
        self.fetch.timing.fetch_timeout
    }

    /// Returns what asks `resolver`, once this has built the configured issuers.
    pub(super) fn resolved(
        mut self,
        resolver: Box<dyn DynResolver>,
        limits: Limits,
    ) -> Result<ResolvedIssuers, JwtVerifierError> {
        for (setting, given) in [
            (".issuer_max_age(…)", limits.max_age),
            (".issuer_retry_interval(…)", limits.retry_interval),
        ] {
            super::fetch_config::check_time(setting, given)?;
        }
        if limits.capacity == 0 {
            return Err(JwtVerifierError::Zero(".issuer_capacity(…)"));
        }
        if limits.lookups_per_second == 0 {
            return Err(JwtVerifierError::Zero(".issuer_lookups_per_second(…)"));
        }
        let rate = Arc::new(RateLimit::new(limits.lookups_per_second));
        self.fetch.rate = Some(rate.clone());
        Ok(ResolvedIssuers::new(resolver, limits, self, rate))
    }
}
