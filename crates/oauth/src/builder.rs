//! How a client is configured.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    RevocationClient, SigningKey,
    bounds::{self, SettingError},
    credentials::{Credentials, CredentialsError},
    endpoint::EndpointSource,
    http_client,
    log::DeliveryLog,
    outbox::ServerOutbox,
    queue::{Queue, QueueSettings},
    worker::{Shared, State},
};
use fastrand::Rng;
use tokio::sync::Notify;
use tower_revoke_core::{
    BoxError, Clock, DiscoveryError, Endpoint, HttpClient, IssuerMetadata, Outbox,
};

/// Configures a [`RevocationClient`]. Client credentials are required.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use tower_revoke_oauth::RevocationClient;
///
/// # fn build(secret: String) -> Result<(), Box<dyn std::error::Error>> {
/// let client = RevocationClient::discover("https://id.example.com")
///     .client_credentials("orders", secret)
///     .queue_capacity(4_096)
///     .max_concurrency(16)
///     .request_timeout(Duration::from_secs(2))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is revoked until the client is built"]
pub struct RevocationClientBuilder {
    endpoint: Result<EndpointSource, DiscoveryError>,
    credentials: Option<Result<Credentials, CredentialsError>>,
    credentials_in_form: bool,
    client: Option<Arc<dyn HttpClient>>,
    token_type_hint: String,
    queue: QueueSettings,
    request_timeout: Duration,
    clock: Clock,
    rng: Rng,
    outbox: Option<Arc<dyn Outbox>>,
}

/// Why a [`RevocationClient`] can't be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationClientError {
    /// Neither [`client_credentials`](RevocationClientBuilder::client_credentials) nor
    /// [`private_key_jwt`](RevocationClientBuilder::private_key_jwt) was called.
    #[error(
        "the client credentials are missing; set them with .client_credentials(…) or .private_key_jwt(…)"
    )]
    MissingCredentials,
    /// The client id or secret is empty.
    #[error("the client credentials can't be used")]
    Credentials(#[source] CredentialsError),
    /// [`http_client`](RevocationClientBuilder::http_client) was not called, and the feature `https` is
    /// off.
    #[error(
        "the HTTP client is missing; set it with .http_client(…), or enable the feature `https`"
    )]
    MissingHttpClient,
    /// The default HTTP client can't be built.
    #[error("the HTTP client can't be built; set another one with .http_client(…)")]
    HttpClient(#[source] BoxError),
    /// The issuer is not a URL whose metadata could be fetched.
    #[error("the metadata of the issuer can't be fetched")]
    Issuer(#[source] DiscoveryError),
    /// A number or a time is out of bounds.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A token would be dropped before its first request could time out.
    #[error(
        "request_timeout is {request_timeout:?}, longer than retry_timeout, which is {retry_timeout:?}"
    )]
    NoRetry {
        /// How long one request may take.
        request_timeout: Duration,
        /// How long a token is retried.
        retry_timeout: Duration,
    },
}

impl RevocationClient {
    /// Configures a client of this revocation endpoint.
    pub fn builder(endpoint: Endpoint) -> RevocationClientBuilder {
        RevocationClientBuilder::new(Ok(EndpointSource::Given(endpoint)))
    }

    /// Configures a client of the revocation endpoint that an issuer, such as
    /// `https://id.example.com`, names in its metadata: OpenID Connect Discovery is tried first,
    /// then RFC 8414.
    ///
    /// The metadata is fetched when the first token is to be revoked, or by
    /// [`ready`](Self::ready), and again until it names an endpoint: neither server has to be up
    /// before the other. An `http` issuer must be on the loopback; of any other give the endpoint. A
    /// remote issuer can't name a local address, see
    /// [`IssuerMetadata`](tower_revoke_core::IssuerMetadata).
    pub fn discover(issuer: impl AsRef<str>) -> RevocationClientBuilder {
        RevocationClientBuilder::new(EndpointSource::of_issuer(
            issuer.as_ref(),
            IssuerMetadata::revocation_endpoint,
        ))
    }
}

impl RevocationClientBuilder {
    fn new(endpoint: Result<EndpointSource, DiscoveryError>) -> Self {
        Self {
            endpoint,
            credentials: None,
            credentials_in_form: false,
            client: None,
            token_type_hint: "access_token".to_owned(),
            queue: QueueSettings {
                capacity: 1_024,
                max_concurrency: 4,
                slow_retry_interval: Duration::from_secs(30),
                retry_timeout: Duration::from_secs(24 * 60 * 60),
            },
            request_timeout: Duration::from_secs(10),
            clock: Clock::system(),
            rng: Rng::new(),
            outbox: None,
        }
    }

    /// Sets the client id and secret, as the server knows them: they are form-urlencoded here
    /// (RFC 6749 §2.3.1). They are sent as `Basic` credentials. This or
    /// [`private_key_jwt`](Self::private_key_jwt) is required.
    pub fn client_credentials(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::secret(id.into(), secret.into()));
        self
    }

    /// Authenticates by assertions that this key signs (RFC 7523 §2.2), for 60 s each. Their audience is
    /// the issuer; where only the endpoint is known, its URL.
    pub fn private_key_jwt(mut self, id: impl Into<String>, key: SigningKey) -> Self {
        self.credentials = Some(Credentials::key(id.into(), key));
        self
    }

    /// Sends the secret in the body instead, as `client_id` and `client_secret`, for a server that takes
    /// no `Basic` credentials. RFC 6749 §2.3.1 advises against it.
    pub fn credentials_in_form(mut self) -> Self {
        self.credentials_in_form = true;
        self
    }

    /// Sends the requests with this client: any tower service that follows no redirects, see
    /// [`HttpClient`]. Defaults to `HttpsClient` of tower-revoke-http, if the feature `https` is on.
    pub fn http_client(mut self, client: impl HttpClient) -> Self {
        self.client = Some(Arc::new(client));
        self
    }

    /// Sets the `token_type_hint` (RFC 7009 §2.1). Defaults to `access_token`; with an empty one
    /// none is sent.
    pub fn token_type_hint(mut self, hint: impl Into<String>) -> Self {
        self.token_type_hint = hint.into();
        self
    }

    /// Keeps what is owed to the server in an outbox, where it outlives the process. Without one it is
    /// kept in memory only, and a crash loses it.
    ///
    /// A response whose token is revoked ends once both the list and the outbox have it on disk. If that
    /// takes longer than the layer's commit timeout, the response is not completed. What an earlier
    /// process owed is sent from the start on: as soon as the client is built in a tokio runtime, or else
    /// with its next call in one.
    ///
    /// Entries belong to the endpoint, or the issuer, and to the client id with which the client was
    /// built: clients with other ids can share the outbox. If one of them changes while the server is
    /// down, what is left under the former name is not sent.
    ///
    /// # Examples
    /// ```
    /// use tower_revoke_core::BoxError;
    /// use tower_revoke_list::RevocationList;
    /// use tower_revoke_oauth::RevocationClient;
    /// use tower_revoke_store_embedded::{EmbeddedStore, OutboxKeys};
    ///
    /// /// The keys are 32 random bytes each, from wherever the program has its other secrets.
    /// async fn start(
    ///     key: [u8; 32],
    ///     former: [u8; 32],
    ///     secret: String,
    /// ) -> Result<(RevocationList, RevocationClient), BoxError> {
    ///     let store = EmbeddedStore::open("/var/lib/orders/revocations")?;
    ///     let keys = OutboxKeys::new(&key).and_former(&former);
    ///     let client = RevocationClient::discover("https://id.example.com")
    ///         .client_credentials("orders", secret)
    ///         .outbox(store.outbox(keys))
    ///         .build()?;
    ///     // Fails if a key is missing that something owed is sealed with.
    ///     client.ready().await?;
    ///     Ok((RevocationList::new(store), client))
    /// }
    /// ```
    pub fn outbox(mut self, outbox: impl Outbox) -> Self {
        self.outbox = Some(Arc::new(outbox));
        self
    }

    /// Sets how many tokens may be queued, in flight or reserved by calls. Defaults to 1,024. Calls
    /// beyond that are rejected.
    ///
    /// No single holder takes more than half of the slots: that is a subject of an issuer, or the
    /// client of a token without a subject, or a token that names neither.
    pub fn queue_capacity(mut self, tokens: usize) -> Self {
        self.queue.capacity = tokens;
        self
    }

    /// Sets how many requests may be in flight. Defaults to 4. While the server fails it is
    /// 1.
    pub fn max_concurrency(mut self, requests: usize) -> Self {
        self.queue.max_concurrency = requests;
        self
    }

    /// Sets how long one request may take, to the end of its response. Defaults to 10 s. At most a
    /// year, and at most [`retry_timeout`](Self::retry_timeout).
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets the pause after a failure that
    /// [needs an operator](crate::DeliveryFailure::needs_operator), such as a wrong secret. Defaults
    /// to 30 s. At most a year.
    pub fn slow_retry_interval(mut self, interval: Duration) -> Self {
        self.queue.slow_retry_interval = interval;
        self
    }

    /// Sets how long a token is retried before it is dropped. Defaults to 24 h. At most a year. It is
    /// also dropped once no verifier accepts it any more, 300 s after its `exp`.
    pub fn retry_timeout(mut self, timeout: Duration) -> Self {
        self.queue.retry_timeout = timeout;
        self
    }

    /// Sets the clock for `Retry-After` dates, the limits of the log, and
    /// [`failing_since`](crate::RevocationClientStats::failing_since). Defaults to the system's.
    /// Pauses go by tokio's timer.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Seeds the random pauses, so that they are the same in each run.
    pub fn seed(mut self, seed: u64) -> Self {
        self.rng = Rng::with_seed(seed);
        self
    }

    /// Builds the client. No runtime is needed. Nothing is sent yet but what an
    /// [`outbox`](Self::outbox) has.
    ///
    /// # Errors
    /// [`RevocationClientError`] if something is missing or can't work.
    pub fn build(self) -> Result<RevocationClient, RevocationClientError> {
        let credentials = self
            .credentials
            .ok_or(RevocationClientError::MissingCredentials)?
            .map_err(RevocationClientError::Credentials)?;
        let client = http_client::set_or_default(self.client);
        let client = client.map_err(RevocationClientError::HttpClient)?;
        let client = client.ok_or(RevocationClientError::MissingHttpClient)?;
        let endpoint = self.endpoint.map_err(RevocationClientError::Issuer)?;
        let queue = &self.queue;
        bounds::check_count("queue_capacity", queue.capacity, 1)?;
        bounds::check_count("max_concurrency", queue.max_concurrency, 1)?;
        bounds::check_time("request_timeout", self.request_timeout)?;
        bounds::check_time("slow_retry_interval", queue.slow_retry_interval)?;
        bounds::check_time("retry_timeout", queue.retry_timeout)?;
        if self.request_timeout > queue.retry_timeout {
            return Err(RevocationClientError::NoRetry {
                request_timeout: self.request_timeout,
                retry_timeout: queue.retry_timeout,
            });
        }
        let outbox = self.outbox.map(|outbox| {
            let server = format!("{} {}", endpoint.name(), credentials.client_id());
            ServerOutbox::new(outbox, server)
        });
        let state = State {
            // Until the endpoint is known, one attempt discovers it for all.
            queue: Queue::new(self.queue, self.rng, !endpoint.is_given()),
            log: DeliveryLog::new(endpoint.host()),
            credentials: Arc::new(credentials),
            is_running: false,
        };
        Ok(RevocationClient::new(Shared {
            endpoint,
            client,
            credentials_in_form: self.credentials_in_form,
            token_type_hint: self.token_type_hint,
            request_timeout: self.request_timeout,
            clock: self.clock,
            outbox,
            state: Mutex::new(state),
            work: Notify::new(),
            changed: Notify::new(),
        }))
    }
}

/// Without the credentials.
impl fmt::Debug for RevocationClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationClientBuilder")
            .field("endpoint", &self.endpoint)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}
