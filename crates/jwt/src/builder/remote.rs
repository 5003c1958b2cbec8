//! The settings for keys that are fetched.

use std::{sync::Arc, time::Duration};

#[cfg(doc)]
use tower_revoke_core::IssuerMetadata;
use tower_revoke_core::{Endpoint, HttpClient};

use super::{JwtVerifierBuilder, key_config::KeyConfig};

/// Keys over the network, of the issuer that was named last.
impl<S> JwtVerifierBuilder<S> {
    /// Fetches keys from this URL: a JWK set (RFC 7517 §5) of at most 1 MiB and 256 keys.
    ///
    /// `build` fetches nothing. The first token that needs the keys starts a fetch, and so does
    /// [`ready`](crate::JwtVerifier::ready); tokens that need them meanwhile wait for its end, and
    /// are rejected with 503 if it fails. From then on a tokio task fetches them again and again: the
    /// program needs a tokio runtime with its timer enabled.
    ///
    /// * A key that the issuer withdraws is rejected from the next refresh on, see
    ///   [`key_refresh_interval`](Self::key_refresh_interval). An unchanged set (`ETag`) is not read
    ///   again.
    /// * An unknown `kid` causes a fetch at once, but not often, see
    ///   [`key_refetch_interval`](Self::key_refetch_interval).
    /// * A failed fetch (a timeout, a status other than 200, a redirect, a response that is not a key
    ///   set) changes nothing until the keys are too old, see [`key_max_age`](Self::key_max_age). It
    ///   is retried after 1 s, and ever less often up to 30 s.
    /// * A set without a usable key, such as an empty one, is a failed fetch too. The keys of the last
    ///   good set stay in use for 10 minutes at most, since the issuer may have withdrawn them all
    ///   after a theft; then all tokens of the issuer are rejected with 503.
    /// * One bad key never drops the others.
    ///
    /// # Examples
    /// ```
    /// use tower_revoke_core::Endpoint;
    /// use tower_revoke_jwt::JwtVerifier;
    /// # if cfg!(not(all(feature = "aws-lc-rs", feature = "https"))) { return Ok(()) }
    ///
    /// let tokens = JwtVerifier::issuer("https://id.example.com")
    ///     .audience("orders")
    ///     .jwks_url(Endpoint::new("https://id.example.com/keys")?)
    ///     .and_issuer("https://partner.example.net")
    ///     .audience("orders")
    ///     .discover()
    ///     .without_revocations()
    ///     .build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn jwks_url(self, url: Endpoint) -> Self {
        self.key(KeyConfig::Url(url))
    }

    /// Fetches keys from the `jwks_uri` of the issuer's metadata, otherwise as
    /// [`jwks_url`](Self::jwks_url). OpenID Connect Discovery 1.0 §4 is tried first, then RFC 8414 §3.
    /// The metadata must name this very issuer.
    ///
    /// The issuer and its `jwks_uri` must be `https`, or on the loopback. A remote issuer can't name a
    /// local address, see [`IssuerMetadata`]. The metadata is fetched again after an hour, and when
    /// the keys can't be fetched.
    pub fn discover(self) -> Self {
        self.key(KeyConfig::Discovery)
    }
}

/// Keys over the network, of all issuers.
impl JwtVerifierBuilder {
    /// *For all issuers:* fetches keys with this client: any tower service that follows no
    /// redirects, see [`HttpClient`]. Defaults to `HttpsClient` of tower-revoke-http, if the feature
    /// `https` is on.
    pub fn http_client(mut self, client: impl HttpClient) -> Self {
        self.settings.fetch.client = Some(Arc::new(client));
        self
    }

    /// *For all issuers:* sets how often keys are fetched again, unless the response carries a
    /// `max-age`, which is followed from a minute to an hour. This bounds the use of a withdrawn key.
    /// Defaults to 5 minutes, and is at most a year. Half of [`key_max_age`](Self::key_max_age) is the
    /// upper bound of both.
    pub fn key_refresh_interval(mut self, interval: Duration) -> Self {
        self.settings.fetch.timing.refresh_interval = interval;
        self
    }

    /// *For all issuers:* sets how often a token may cause a fetch whose `kid` is unknown, or that has
    /// none and a signature that no key verifies. So made-up tokens cost the issuer nothing. Defaults
    /// to 10 s, and is at most a year.
    ///
    /// Such a token is handled by the state of its issuer's keys:
    ///
    /// | the keys | the token is |
    /// |---|---|
    /// | were fetched after it arrived, or within this interval and after the second of its `iat` | rejected with 401 |
    /// | are being fetched | held until the fetch ends, for [`key_fetch_timeout`](Self::key_fetch_timeout) at most |
    /// | could not be fetched, or only before its `iat` | rejected with 503 |
    ///
    /// At most 1,024 tokens of an issuer are held; others are rejected with 503. A token without
    /// `iat` counts as an old one. The `iat` is not verified at this point, but a made-up one only
    /// turns a 401 into a 503, and causes no fetch.
    pub fn key_refetch_interval(mut self, interval: Duration) -> Self {
        self.settings.fetch.timing.refetch_interval = interval;
        self
    }

    /// *For all issuers:* sets how long a fetch may take, with its discovery. Defaults to 5 s, and is
    /// at most a year.
    pub fn key_fetch_timeout(mut self, timeout: Duration) -> Self {
        self.settings.fetch.timing.fetch_timeout = timeout;
        self
    }

    /// *For all issuers:* sets how long fetched keys are trusted, from the start of their fetch.
    /// Defaults to 2 hours, and is at most a year. If they can't be fetched again for so long, all
    /// tokens of the issuer are rejected with 503, up to a second later.
    ///
    /// It also bounds the 10 minutes for which keys stay in use whose set now has no usable key, see
    /// [`jwks_url`](Self::jwks_url).
    pub fn key_max_age(mut self, max_age: Duration) -> Self {
        self.settings.fetch.timing.max_age = max_age;
        self
    }
}
