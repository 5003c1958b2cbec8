//! How a verifier is configured.

use std::{
    fmt, io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::Semaphore;
use tower_revoke_core::{
    BoxError, ClaimNames, Clock, DiscoveryError, Endpoint, HttpClient, IssuerMetadata, Revocations,
    internal::{TokenCache, audiences_or_any},
    request_timeout, retention,
};

use super::{
    IntrospectionVerifier, answer::Rules, flights::Flights, rate::Rate, server::Server,
    verifier::Inner,
};
use crate::{
    CredentialsError, SigningKey,
    bounds::{self, SettingError},
    credentials::Credentials,
    endpoint::EndpointSource,
    http_client,
};

/// Configures an [`IntrospectionVerifier`]. Client credentials, an audience and a revocation list
/// are required, or the absence of an audience or a list must be stated.
#[must_use = "nothing is verified until the verifier is built"]
pub struct IntrospectionVerifierBuilder {
    issuer: String,
    endpoint: Result<EndpointSource, DiscoveryError>,
    credentials: Option<Result<Credentials, CredentialsError>>,
    credentials_in_form: bool,
    client: Option<Arc<dyn HttpClient>>,
    audiences: Vec<String>,
    any_audience: bool,
    allow_no_expiry: bool,
    rule_claims: Vec<String>,
    claim_names: ClaimNames,
    leeway: Duration,
    /// `None` until it is set; `Some(None)` is no list.
    revocations: Option<Option<Arc<dyn Revocations>>>,
    max_staleness: Duration,
    cache_capacity: usize,
    rejected_capacity: usize,
    unknown_tokens_per_second: u32,
    max_concurrency: usize,
    request_timeout: Duration,
    clock: Clock,
}

/// Why an [`IntrospectionVerifier`] can't be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntrospectionVerifierError {
    /// The issuer is empty.
    #[error("the issuer is empty")]
    MissingIssuer,
    /// Neither [`client_credentials`](IntrospectionVerifierBuilder::client_credentials) nor
    /// [`private_key_jwt`](IntrospectionVerifierBuilder::private_key_jwt) was called.
    #[error(
        "the client credentials are missing; set them with .client_credentials(…) or .private_key_jwt(…)"
    )]
    MissingCredentials,
    /// The client id or secret is empty.
    #[error("the client credentials can't be used")]
    Credentials(#[source] CredentialsError),
    /// [`http_client`](IntrospectionVerifierBuilder::http_client) was not called, and the feature `https` is
    /// off.
    #[error(
        "the HTTP client is missing; set it with .http_client(…), or enable the feature `https`"
    )]
    MissingHttpClient,
    /// The default HTTP client can't be built.
    #[error("the HTTP client can't be built; set another one with .http_client(…)")]
    HttpClient(#[source] BoxError),
    /// Neither `.audience(…)` nor `.any_audience()` was called, or both, or an audience is empty.
    #[error("the audience is missing; set it with .audience(…), or call .any_audience()")]
    MissingAudience,
    /// Neither `.revocations(…)` nor `.without_revocations()` was called.
    #[error(
        "the revocation list is missing; set it with .revocations(…), or call .without_revocations()"
    )]
    MissingRevocations,
    /// The issuer is not a URL whose metadata could be fetched.
    #[error("the metadata of the issuer can't be fetched")]
    Issuer(#[source] DiscoveryError),
    /// The leeway exceeds the time for which revocations are kept beyond a token's expiry.
    #[error("the leeway is {leeway:?}; it must be at most {max:?}")]
    LeewayTooLong {
        /// The leeway.
        leeway: Duration,
        /// The longest one, [`retention::MARGIN`](tower_revoke_core::retention::MARGIN).
        max: Duration,
    },
    /// The request timeout is out of bounds.
    #[error(transparent)]
    RequestTimeout(#[from] request_timeout::RequestTimeoutError),
    /// A number is out of bounds.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The system has no random bytes for the secrets of the cache.
    #[error("the system has no random bytes")]
    NoRandomness(#[source] io::Error),
}

impl IntrospectionVerifier {
    /// Configures a verifier of the tokens of this issuer, whose introspection endpoint is known.
    pub fn builder(issuer: impl Into<String>, endpoint: Endpoint) -> IntrospectionVerifierBuilder {
        IntrospectionVerifierBuilder::new(issuer.into(), Ok(EndpointSource::Given(endpoint)))
    }

    /// Configures a verifier of the tokens of this issuer, such as `https://id.example.com`, whose metadata
    /// names its introspection endpoint: OpenID Connect Discovery is tried first, then RFC 8414. It is
    /// fetched with the first token, or by [`ready`](Self::ready).
    pub fn discover(issuer: impl Into<String>) -> IntrospectionVerifierBuilder {
        let issuer = issuer.into();
        let endpoint = EndpointSource::of_issuer(&issuer, IssuerMetadata::introspection_endpoint);
        IntrospectionVerifierBuilder::new(issuer, endpoint)
    }
}

impl IntrospectionVerifierBuilder {
    fn new(issuer: String, endpoint: Result<EndpointSource, DiscoveryError>) -> Self {
        Self {
            issuer,
            endpoint,
            credentials: None,
            credentials_in_form: false,
            client: None,
            audiences: Vec::new(),
            any_audience: false,
            allow_no_expiry: false,
            rule_claims: Vec::new(),
            claim_names: ClaimNames::default(),
            leeway: Duration::from_secs(30),
            revocations: None,
            max_staleness: Duration::from_secs(5),
            cache_capacity: 50_000,
            rejected_capacity: 10_000,
            unknown_tokens_per_second: 100,
            max_concurrency: 64,
            request_timeout: request_timeout::DEFAULT,
            clock: Clock::system(),
        }
    }

    /// Sets the client id and secret, as the server knows them: they are form-urlencoded here
    /// (RFC 6749 §2.3.1). They are sent as `Basic` credentials. This or
    /// [`private_key_jwt`](Self::private_key_jwt) is required.
    pub fn client_credentials(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::secret(id.into(), secret.into()));
        self
    }

    /// Sends the secret in the body instead, as `client_id` and `client_secret`, for a server that takes
    /// no `Basic` credentials. RFC 6749 §2.3.1 advises against it.
    pub fn credentials_in_form(mut self) -> Self {
        self.credentials_in_form = true;
        self
    }

    /// Authenticates by assertions that this key signs (RFC 7523 §2.2), for the issuer and for 60 s each.
    pub fn private_key_jwt(mut self, id: impl Into<String>, key: SigningKey) -> Self {
        self.credentials = Some(Credentials::key(id.into(), key));
        self
    }

    /// Sends the requests with this client: any tower service that follows no redirects, see
    /// [`HttpClient`]. Defaults to `HttpsClient` of tower-revoke-http, if the feature `https` is on.
    pub fn http_client(mut self, client: impl HttpClient) -> Self {
        self.client = Some(Arc::new(client));
        self
    }

    /// Accepts tokens for this audience. Can be called more than once: one of them must be in `aud`.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Accepts tokens for any audience, and those of which the server names none. A token that was stolen
    /// from another service is then valid here, unless the server itself tells only the audience that a
    /// token is active, as Keycloak does.
    pub fn any_audience(mut self) -> Self {
        self.any_audience = true;
        self
    }

    /// Accepts tokens without `exp`, which are valid until the server or the list ends them.
    pub fn allow_no_expiry(mut self) -> Self {
        self.allow_no_expiry = true;
        self
    }

    /// Sets which members of an answer name the client, the session, the grant and the scopes of the
    /// token, for servers that the [defaults](ClaimNames) don't fit. Rules of the revocation list,
    /// required scopes and the monitor's clients follow it. An answer in which such a member is of the
    /// wrong type, or two of the default ones contradict each other, is a 503.
    pub fn claim_names(mut self, names: ClaimNames) -> Self {
        self.claim_names = names;
        self
    }

    /// Checks tokens for revocations by the value of this claim, see
    /// [`RevocationKey::claim`](tower_revoke_core::RevocationKey::claim). A token in which it is not a
    /// string is rejected.
    pub fn rule_claim(mut self, claim: impl Into<String>) -> Self {
        self.rule_claims.push(claim.into());
        self
    }

    /// Sets how far clocks may differ, for `exp`, `nbf` and `iat`. Defaults to 30 s, and is at most 300 s
    /// ([`retention::MARGIN`]).
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Rejects tokens that are revoked or spent by this list, and those with a life longer than its
    /// [`max_token_life`](Revocations::max_token_life) or an unknown one.
    pub fn revocations(mut self, list: impl Into<Arc<dyn Revocations>>) -> Self {
        self.revocations = Some(Some(list.into()));
        self
    }

    /// Checks no list. A token is valid until the server ends it.
    pub fn without_revocations(mut self) -> Self {
        self.revocations = Some(None);
        self
    }

    /// Sets how long an answer of the server is used, counted from before the request. Defaults to 5 s. A
    /// request that is under way is shared for as long. With 0 the server is asked on every request, and
    /// only requests at one time share an answer.
    pub fn max_staleness(mut self, max_staleness: Duration) -> Self {
        self.max_staleness = max_staleness;
        self
    }

    /// Sets how many valid tokens are cached. Defaults to 50,000. An entry takes about 1 to
    /// 2 KB.
    pub fn cache_capacity(mut self, tokens: usize) -> Self {
        self.cache_capacity = tokens;
        self
    }

    /// Sets how many rejected tokens are cached. Defaults to 10,000.
    pub fn rejected_capacity(mut self, tokens: usize) -> Self {
        self.rejected_capacity = tokens;
        self
    }

    /// Sets how many requests a second are made for tokens that were not valid before.
    /// Defaults to 100. Beyond that they are rejected with 503. Set it above the number
    /// of new tokens that a busy second brings.
    pub fn unknown_tokens_per_second(mut self, tokens: u32) -> Self {
        self.unknown_tokens_per_second = tokens;
        self
    }

    /// Sets how many requests may be under way. At least 2; defaults to 64. At most half of them are about
    /// unknown tokens. Beyond that tokens are rejected with 503.
    pub fn max_concurrency(mut self, requests: usize) -> Self {
        self.max_concurrency = requests;
        self
    }

    /// Sets how long the server may take, to the end of its response. Defaults to 2 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets the clock. Defaults to the system's. Give the list the same one.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the verifier. Nothing is sent yet, and no runtime is needed.
    ///
    /// # Errors
    /// [`IntrospectionVerifierError`] if something is missing or can't work.
    pub fn build(self) -> Result<IntrospectionVerifier, IntrospectionVerifierError> {
        use IntrospectionVerifierError as Error;

        if self.issuer.is_empty() {
            return Err(Error::MissingIssuer);
        }
        let credentials = self.credentials.ok_or(Error::MissingCredentials)?;
        let credentials = credentials.map_err(Error::Credentials)?;
        let client = http_client::set_or_default(self.client).map_err(Error::HttpClient)?;
        let client = client.ok_or(Error::MissingHttpClient)?;
        let audiences = audiences_or_any(self.audiences, self.any_audience);
        let audiences = audiences.ok_or(Error::MissingAudience)?;
        if self.leeway > retention::MARGIN {
            return Err(Error::LeewayTooLong {
                leeway: self.leeway,
                max: retention::MARGIN,
            });
        }
        request_timeout::check(self.request_timeout)?;
        let per_second = self.unknown_tokens_per_second.try_into();
        bounds::check_count("cache_capacity", self.cache_capacity, 1)?;
        bounds::check_count("rejected_capacity", self.rejected_capacity, 1)?;
        bounds::check_count(
            "unknown_tokens_per_second",
            per_second.unwrap_or(usize::MAX),
            1,
        )?;
        bounds::check_count("max_concurrency", self.max_concurrency, 2)?;
        if self.max_concurrency > Semaphore::MAX_PERMITS {
            return Err(Error::Setting(SettingError::TooLarge {
                setting: "max_concurrency",
                given: self.max_concurrency,
                max: Semaphore::MAX_PERMITS,
            }));
        }
        let server = Server {
            endpoint: self.endpoint.map_err(Error::Issuer)?,
            issuer: self.issuer.clone(),
            client,
            credentials,
            credentials_in_form: self.credentials_in_form,
            request_timeout: self.request_timeout,
            clock: self.clock,
            slots: Arc::new(Semaphore::new(self.max_concurrency)),
            slots_for_unknown: Arc::new(Semaphore::new(self.max_concurrency / 2)),
            unknown: Rate::new(self.unknown_tokens_per_second),
            paused_until: Mutex::default(),
        };
        let rules = Rules {
            issuer: self.issuer,
            audiences,
            allow_no_expiry: self.allow_no_expiry,
            rule_claims: self.rule_claims,
            claim_names: self.claim_names,
            leeway: self.leeway,
            revocations: self.revocations.ok_or(Error::MissingRevocations)?,
        };
        Ok(IntrospectionVerifier::new(Inner {
            server,
            rules,
            max_staleness: self.max_staleness,
            accepted: TokenCache::new(self.cache_capacity).map_err(Error::NoRandomness)?,
            rejected: TokenCache::new(self.rejected_capacity).map_err(Error::NoRandomness)?,
            flights: Arc::new(Flights::default()),
        }))
    }
}

/// Without the credentials.
impl fmt::Debug for IntrospectionVerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectionVerifierBuilder")
            .field("issuer", &self.issuer)
            .field("endpoint", &self.endpoint)
            .field("audiences", &self.audiences)
            .finish_non_exhaustive()
    }
}
