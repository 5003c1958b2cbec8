//! How an authorization server is set up.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use tokio::sync::Notify;
use tower_revoke_core::{Clock, DiscoveryError, Endpoint, HttpClient};
use zeroize::Zeroizing;

use crate::{
    CredentialsError, RevocationClient,
    credentials::Credentials,
    place::Place,
    queue::{Limits, Queue},
    report::Report,
    request::Placement,
    server::{Shared, State},
};

/// More is as good as for ever, and can still be added to a time.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Sets up an [`RevocationClient`].
#[must_use]
pub struct RevocationClientBuilder {
    target: Target,
    credentials: Option<(Zeroizing<String>, Zeroizing<String>)>,
    placement: Placement,
    client: Option<Arc<dyn HttpClient>>,
    hint: String,
    limits: Limits,
    request_timeout: Duration,
    clock: Clock,
    rng: Rng,
}

#[derive(Debug)]
enum Target {
    At(Endpoint),
    Issuer(String),
}

/// Why there is no [`RevocationClient`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationClientError {
    /// [`client_credentials`](RevocationClientBuilder::client_credentials) was not called.
    #[error("the authorization server has to be given client credentials")]
    NoCredentials,
    /// The client credentials can't be any client's.
    #[error("the client credentials can't be used")]
    Credentials(#[source] CredentialsError),
    /// [`http`](RevocationClientBuilder::http) was not called.
    #[error("the authorization server has to be given an HTTP client")]
    NoHttpClient,
    /// The issuer is not one whose metadata could be fetched.
    #[error("the issuer's metadata can't be found")]
    Issuer(#[source] DiscoveryError),
}

impl RevocationClientBuilder {
    pub(crate) fn at(endpoint: Endpoint) -> Self {
        Self::new(Target::At(endpoint))
    }

    pub(crate) fn discover(issuer: String) -> Self {
        Self::new(Target::Issuer(issuer))
    }

    fn new(target: Target) -> Self {
        Self {
            target,
            credentials: None,
            placement: Placement::Basic,
            client: None,
            hint: "access_token".to_owned(),
            limits: Limits {
                places: 1_024,
                at_once: 4,
                slowly: Duration::from_secs(30),
                retry_timeout: Duration::from_secs(24 * 60 * 60),
            },
            request_timeout: Duration::from_secs(10),
            clock: Clock::system(),
            rng: Rng::new(),
        }
    }

    /// The client's id and secret, as the server knows them: they are form-urlencoded here
    /// (RFC 6749 §2.3.1). Sent as `Basic` unless told otherwise. Required.
    pub fn client_credentials(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.credentials = Some((Zeroizing::new(id.into()), Zeroizing::new(secret.into())));
        self
    }

    /// Sends the credentials as `client_id` and `client_secret` in the body, and no `Basic`: for a
    /// server that can't read that (RFC 6749 §2.3.1 advises against it).
    pub fn credentials_in_form(mut self) -> Self {
        self.placement = Placement::Form;
        self
    }

    /// Sends the requests with this client: any tower service that follows no redirects, see
    /// [`HttpClient`]. `HttpsClient` of tower-revoke-http is one. Required.
    pub fn http_client(mut self, client: impl HttpClient) -> Self {
        self.client = Some(Arc::new(client));
        self
    }

    /// The `token_type_hint` (RFC 7009 §2.1); `access_token` unless set. Empty: none is sent.
    pub fn token_type_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// How many tokens may be on their way at a time, counting those of calls that have not ended.
    /// Defaults to 1,024, and is at least one. When there are more, calls are rejected. No single
    /// caller takes more than half of the places: a subject of an issuer, or a client where a token
    /// names no subject, or else a token.
    pub fn queue_capacity(mut self, places: usize) -> Self {
        self.limits.places = places.max(1);
        self
    }

    /// How many requests may be made at a time; 4 unless set, at least one. While the server
    /// fails it is one.
    pub fn max_concurrency(mut self, requests: usize) -> Self {
        self.limits.at_once = requests.max(1);
        self
    }

    /// How long one request may take, to the end of its answer; 10 s unless set.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit.min(LONGEST);
        self
    }

    /// The pause after a failure that needs a person, such as a wrong secret; 30 s unless set.
    pub fn slow_retry_interval(mut self, pause: Duration) -> Self {
        self.limits.slowly = pause.min(LONGEST);
        self
    }

    /// How long a token is tried at all; 24 h unless set. Longer than your tokens live is in vain.
    pub fn retry_timeout(mut self, age: Duration) -> Self {
        self.limits.retry_timeout = age.min(LONGEST);
        self
    }

    /// What `Retry-After` dates, the log's pauses and `failing_since` go by; the machine's clock
    /// unless given. Pauses between tries go by tokio's timer.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the pauses the same in each run; they are random unless this is called.
    pub fn seed(mut self, seed: u64) -> Self {
        self.rng = Rng::with_seed(seed);
        self
    }

    /// The server. Nothing is sent yet, and no runtime is needed.
    ///
    /// # Errors
    /// [`RevocationClientError`].
    pub fn build(self) -> Result<RevocationClient, RevocationClientError> {
        let (id, secret) = self
            .credentials
            .ok_or(RevocationClientError::NoCredentials)?;
        let credentials =
            Credentials::new(id, secret).map_err(RevocationClientError::Credentials)?;
        let client = self.client.ok_or(RevocationClientError::NoHttpClient)?;
        let place = match self.target {
            Target::At(endpoint) => Place::Given(endpoint),
            Target::Issuer(issuer) => {
                Place::of_issuer(issuer).map_err(RevocationClientError::Issuer)?
            }
        };
        let state = State {
            // Until the endpoint is found, one finds it for all.
            queue: Queue::new(self.limits, self.rng, !place.is_known()),
            report: Report::new(place.host()),
            credentials: Arc::new(credentials),
            version: 0,
            is_running: false,
        };
        Ok(RevocationClient::new(Shared {
            place,
            client,
            placement: self.placement,
            hint: self.hint,
            request_timeout: self.request_timeout,
            clock: self.clock,
            state: Mutex::new(state),
            work: Notify::new(),
            settled: Notify::new(),
        }))
    }
}

/// Without the credentials.
impl std::fmt::Debug for RevocationClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RevocationClientBuilder")
            .field("target", &self.target)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
