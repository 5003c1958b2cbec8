//! How keys are fetched, for all issuers.

use std::{sync::Arc, time::Duration};

use tower_revoke_core::{Clock, HttpClient, IssuerMetadata, internal::MetadataSource};
#[cfg(feature = "https")]
use tower_revoke_http::HttpsClient;

use super::key_config::KeyConfig;
use crate::{
    Algorithm, IssuerError, JwtVerifierError,
    keys::remote::{KeyLocation, Origin, Remote, Timing},
    resolver::RateLimit,
};

/// The longest time of any setting: sums of a few never overflow.
const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[derive(Clone, Default)]
pub(super) struct FetchConfig {
    pub(super) client: Option<Arc<dyn HttpClient>>,
    pub(super) timing: Timing,
    /// How often tokens may cause fetches, of all issuers together.
    pub(super) rate: Option<Arc<RateLimit>>,
}

impl FetchConfig {
    /// Returns what fetches the keys of this issuer; `None` if none are to be fetched.
    pub(super) fn remote(
        &self,
        issuer: &str,
        keys: &[KeyConfig],
        allowed: &Arc<[Algorithm]>,
        clock: &Clock,
    ) -> Result<Option<Remote>, IssuerError> {
        let mut fetched = keys.iter().filter(|config| config.is_fetched());
        let location = match (fetched.next(), fetched.next()) {
            (Some(_), Some(_)) => {
                let settings = "two of .jwks_url(…) and .discover()";
                return Err(IssuerError::Contradiction(settings));
            }
            (Some(KeyConfig::Url(url)), None) => KeyLocation::Url(url.clone()),
            (Some(_), None) => {
                let metadata = MetadataSource::new(issuer, IssuerMetadata::jwks_uri);
                KeyLocation::Discovered(metadata.map_err(IssuerError::Discovery)?)
            }
            (None, _) => return Ok(None),
        };
        let origin = Origin {
            issuer: issuer.into(),
            location,
            client: self.client.clone().ok_or(IssuerError::MissingHttpClient)?,
            allowed: allowed.clone(),
            clock: clock.clone(),
            rate: self.rate.clone(),
        };
        Ok(Some(Remote::new(origin, self.timing)))
    }

    /// Checks the times. If something is fetched, sets the default client where none is set.
    pub(super) fn checked(
        #[cfg_attr(
            not(feature = "https"),
            expect(unused_mut, reason = "it has no default client")
        )]
        mut self,
        is_used: bool,
    ) -> Result<Self, JwtVerifierError> {
        let timing = &self.timing;
        for (setting, given) in [
            (".key_refresh_interval(…)", timing.refresh_interval),
            (".key_refetch_interval(…)", timing.refetch_interval),
            (".key_fetch_timeout(…)", timing.fetch_timeout),
            (".key_max_age(…)", timing.max_age),
        ] {
            check_time(setting, given)?;
        }
        #[cfg(feature = "https")]
        if is_used && self.client.is_none() {
            let client = HttpsClient::new();
            let client = client.map_err(|error| JwtVerifierError::HttpClient(error.into()))?;
            self.client = Some(Arc::new(client));
        }
        #[cfg(not(feature = "https"))]
        let _ = is_used;
        Ok(self)
    }
}

pub(super) fn check_time(setting: &'static str, given: Duration) -> Result<(), JwtVerifierError> {
    if given.is_zero() || given > MAX_TIME {
        return Err(JwtVerifierError::TimeOutOfBounds {
            setting,
            given,
            max: MAX_TIME,
        });
    }
    Ok(())
}
