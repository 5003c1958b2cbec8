//! Keys over the network, as they were asked for.

use std::{sync::Arc, time::Duration};

use tower_revoke_core::{Clock, Endpoint, HttpClient, IssuerMetadata};

use super::issuer::Given;
use crate::{
    JwtVerifierBuilder, JwtVerifierError,
    algorithm::AlgorithmSet,
    keys::remote::{Origin, Place, Remote, Timing},
};

/// The longest time of any setting: sums of such times always fit.
const MOST_TIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

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
    /// rejected with 503 if it fails. After that a tokio task of its own fetches them, again and
    /// again: the program needs a tokio runtime with a timer.
    ///
    /// * A key that the issuer withdraws is rejected from the next refresh on, see
    ///   [`key_refresh_interval`](Self::key_refresh_interval). What is unchanged (`ETag`) isn't read
    ///   again.
    /// * A `kid` that no key has makes us look at once, but not often, see
    ///   [`key_refetch_interval`](Self::key_refetch_interval).
    /// * What can't be fetched (no answer in time, a status other than 200, a redirect, something
    ///   that is no key set) changes nothing until the keys are too old, see
    ///   [`key_max_age`](Self::key_max_age). It is tried again after 1 second, and less and
    ///   less often, up to half a minute.
    /// * A set without a key that can be used, as an empty one, is a failed fetch too. The keys that
    ///   were fetched before stay for 10 minutes at most, since the issuer may have withdrawn them
    ///   all after a theft; then all tokens of the issuer are rejected with 503.
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
    ///     .http_client(HttpsClient::new()?)
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
    /// The issuer and its `jwks_uri` must be `https`, or on the loopback. A remote issuer can't name a
    /// local address, see [`IssuerMetadata`]. The metadata is read
    /// again after an hour, and when the keys can't be fetched.
    pub fn discover(self) -> Self {
        self.key(Given::Discovery)
    }

    /// *For all issuers:* fetches keys with this client: any tower service that follows no
    /// redirects, see [`HttpClient`]. `HttpsClient` of tower-revoke-http is one.
    pub fn http_client(mut self, client: impl HttpClient) -> Self {
        self.remote.client = Some(Arc::new(client));
        self
    }

    /// *For all issuers:* how often keys are fetched again: the upper bound on the use of a key that
    /// its issuer withdrew. Defaults to 5 minutes, and is at most a year. Where the answer says how long it is fresh
    /// (`Cache-Control: max-age`), that counts in its place, from a minute to an hour. Never less
    /// often than twice in [`key_max_age`](Self::key_max_age).
    pub fn key_refresh_interval(mut self, pause: Duration) -> Self {
        self.remote.timing.refresh_every = pause;
        self
    }

    /// *For all issuers:* tokens with a `kid` that no key has, or without one and with a signature
    /// that none verifies, cause at most one fetch in this time, so that made-up ones cost the issuer
    /// nothing. Defaults to 10 seconds, and is at most a year.
    ///
    /// What becomes of such a token depends on what is known of its issuer's keys:
    ///
    /// | the keys | the token is |
    /// |---|---|
    /// | were fetched after it came, or within this time and after the second of its `iat` | rejected with 401 |
    /// | are being fetched | held until the fetch ends, for [`key_fetch_timeout`](Self::key_fetch_timeout) at most |
    /// | could not be fetched, or only before its `iat` | rejected with 503 |
    ///
    /// At most 1,024 tokens of an issuer are held; those beyond are rejected with 503. A token
    /// without `iat` counts as an old one. Nobody has verified the `iat` at this point, but one that
    /// is made up only turns a 401 into a 503, and causes no fetch.
    pub fn key_refetch_interval(mut self, window: Duration) -> Self {
        self.remote.timing.key_refetch_interval = window;
        self
    }

    /// *For all issuers:* how long a fetch may take, with all that it has to ask. Defaults to 5
    /// seconds, and is at most a year.
    pub fn key_fetch_timeout(mut self, limit: Duration) -> Self {
        self.remote.timing.fetch_within = limit;
        self
    }

    /// *For all issuers:* how long fetched keys are trusted, counted from before they were asked
    /// for. Defaults to 2 hours, and is at most a year. If they can't be fetched again for so long,
    /// all tokens of the issuer are rejected with 503. A whole second may pass until it shows.
    ///
    /// It also bounds the 10 minutes for which keys stay whose set is now without a usable key, see
    /// [`jwks_url`](Self::jwks_url).
    pub fn key_max_age(mut self, time: Duration) -> Self {
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
    ) -> Result<Option<Remote>, JwtVerifierError> {
        let mut places = given.iter().filter_map(|given| match given {
            Given::Url(url) => Some(Ok(Place::At(url.clone()))),
            Given::Discovery => Some(IssuerMetadata::urls(issuer).map(Place::Discovered)),
            _ => None,
        });
        let Some(place) = places.next() else {
            return Ok(None);
        };
        if places.next().is_some() {
            return Err(JwtVerifierError::Contradiction {
                issuer: issuer.to_owned(),
                settings: "two of .jwks_url(…) and .discover()",
            });
        }
        let place = place.map_err(|error| JwtVerifierError::Discovery {
            issuer: issuer.to_owned(),
            error,
        })?;
        let Some(client) = self.client.clone() else {
            return Err(JwtVerifierError::MissingHttpClient {
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

    fn check_timing(&self) -> Result<(), JwtVerifierError> {
        let timing = &self.timing;
        let times = [
            (timing.refresh_every, ".key_refresh_interval(…)"),
            (timing.key_refetch_interval, ".key_refetch_interval(…)"),
            (timing.fetch_within, ".key_fetch_timeout(…)"),
            (timing.trust_for, ".key_max_age(…)"),
        ];
        for (given, setting) in times {
            if given.is_zero() {
                return Err(JwtVerifierError::NoTime { setting });
            }
            if given > MOST_TIME {
                return Err(JwtVerifierError::TimeTooLong {
                    setting,
                    given,
                    most: MOST_TIME,
                });
            }
        }
        Ok(())
    }
}
