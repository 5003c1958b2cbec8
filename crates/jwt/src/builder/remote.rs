//! Keys over the network, as they were asked for.

use std::{sync::Arc, time::Duration};

use tower_revoke_core::{Clock, Endpoint, HttpClient, IssuerMetadata};

use super::issuer::Given;
use crate::{
    BuildError, JwtVerifierBuilder,
    algorithm::AlgorithmSet,
    keys::remote::{Origin, Place, Remote, Timing},
};

/// What is said of fetching, for all issuers.
#[derive(Default)]
pub(super) struct Settings {
    client: Option<Arc<dyn HttpClient>>,
    timing: Timing,
}

impl JwtVerifierBuilder {
    /// Fetches keys from here: a JWK set (RFC 7517 §5), at most 1 MiB and 256 keys. `http` says by
    /// whom.
    ///
    /// `build` fetches nothing. The first token that needs the keys does, and
    /// [`ready`](crate::JwtVerifier::ready); who needs them meanwhile waits for that fetch, and is
    /// refused with 503 if it fails. After that a tokio task of its own fetches them, again and
    /// again: the program needs a tokio runtime with a timer.
    ///
    /// * A key that the issuer withdraws is refused from the next refresh on, see
    ///   [`refresh_keys_every`](Self::refresh_keys_every). What is unchanged (`ETag`) isn't read
    ///   again.
    /// * A `kid` that no key has makes us look at once, but not often, see
    ///   [`refetch_window`](Self::refetch_window).
    /// * What can't be fetched (no answer in time, a status other than 200, a redirect, something
    ///   that is no key set) changes nothing until the keys are too old, see
    ///   [`trust_keys_for`](Self::trust_keys_for). It is tried again after 1 second, and less and
    ///   less often, up to half a minute.
    /// * One bad key never drops the others.
    ///
    /// ```
    /// use tower_revoke_core::Endpoint;
    /// use tower_revoke_http::HttpsClient;
    /// use tower_revoke_jwt::JwtVerifier;
    /// # if cfg!(not(feature = "aws-lc-rs")) { return Ok(()) }
    ///
    /// let tokens = JwtVerifier::issuer("https://id.example.com")
    ///     .audience("orders")
    ///     .jwks_url(Endpoint::new("https://id.example.com/keys")?)
    ///     .and_issuer("https://partner.example.net")
    ///     .audience("orders")
    ///     .discover()
    ///     .http(HttpsClient::new()?)
    ///     .without_revocations()
    ///     .build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn jwks_url(self, url: Endpoint) -> Self {
        self.key(Given::Url(url))
    }

    /// Fetches keys from where the issuer's metadata says (`jwks_uri`): OpenID Connect Discovery
    /// 1.0 §4 is tried first, then RFC 8414 §3. The metadata must name this very issuer. What is
    /// said of [`jwks_url`](Self::jwks_url) holds.
    ///
    /// The issuer and its `jwks_uri` must be `https`, or on the loopback. The metadata is read
    /// again after an hour, and when the keys can't be fetched.
    pub fn discover(self) -> Self {
        self.key(Given::Discovery)
    }

    /// *For all issuers:* fetches keys with this client. `HttpsClient` of tower-revoke-http is one.
    pub fn http(mut self, client: impl HttpClient) -> Self {
        self.remote.client = Some(Arc::new(client));
        self
    }

    /// *For all issuers:* how often keys are fetched again; 5 minutes unless said. So long a key
    /// lives that its issuer withdrew. Where the answer says how long it is fresh
    /// (`Cache-Control: max-age`), that counts in its place, from a minute to an hour. Never less
    /// often than twice in [`trust_keys_for`](Self::trust_keys_for).
    pub fn refresh_keys_every(mut self, pause: Duration) -> Self {
        self.remote.timing.refresh_every = pause;
        self
    }

    /// *For all issuers:* tokens with a `kid` that no key has, or without one and with a signature
    /// that none verifies, make us fetch at most once in this time; 10 seconds unless said. The
    /// others are refused at once meanwhile, so that made-up ones cost the issuer nothing.
    pub fn refetch_window(mut self, window: Duration) -> Self {
        self.remote.timing.refetch_window = window;
        self
    }

    /// *For all issuers:* how long a fetch may take, with all that it has to ask; 5 seconds unless
    /// said.
    pub fn fetch_keys_within(mut self, limit: Duration) -> Self {
        self.remote.timing.fetch_within = limit;
        self
    }

    /// *For all issuers:* how long fetched keys are trusted, counted from before they were asked
    /// for; 2 hours unless said. If they can't be fetched again for so long, all tokens of the
    /// issuer are refused with 503. A whole second may pass until it shows.
    pub fn trust_keys_for(mut self, time: Duration) -> Self {
        self.remote.timing.trust_for = time;
        self
    }
}

impl Settings {
    /// What fetches the keys of this issuer; `None` if they are all given.
    pub(super) fn remote(
        &self,
        issuer: &str,
        given: &[Given],
        allowed: AlgorithmSet,
        clock: &Clock,
    ) -> Result<Option<Remote>, BuildError> {
        let mut places = given.iter().filter_map(|given| match given {
            Given::Url(url) => Some(Ok(Place::At(url.clone()))),
            Given::Discovery => Some(IssuerMetadata::urls(issuer).map(Place::Discovered)),
            _ => None,
        });
        let Some(place) = places.next() else {
            return Ok(None);
        };
        if places.next().is_some() {
            return Err(BuildError::Contradiction {
                issuer: issuer.to_owned(),
                settings: "two of .jwks_url(…) and .discover()",
            });
        }
        let place = place.map_err(|error| BuildError::Discovery {
            issuer: issuer.to_owned(),
            error,
        })?;
        let Some(client) = self.client.clone() else {
            return Err(BuildError::MissingHttpClient {
                issuer: issuer.to_owned(),
            });
        };
        self.check_timing()?;
        let origin = Origin {
            issuer: issuer.into(),
            place,
            client,
            allowed,
            clock: clock.clone(),
        };
        Ok(Some(Remote::new(origin, self.timing)))
    }

    fn check_timing(&self) -> Result<(), BuildError> {
        let timing = &self.timing;
        let times = [
            (timing.refresh_every, ".refresh_keys_every(…)"),
            (timing.refetch_window, ".refetch_window(…)"),
            (timing.fetch_within, ".fetch_keys_within(…)"),
            (timing.trust_for, ".trust_keys_for(…)"),
        ];
        match times.iter().find(|(time, _)| time.is_zero()) {
            Some((_, setting)) => Err(BuildError::NoTime { setting }),
            None => Ok(()),
        }
    }
}
