//! How keys are fetched, for all issuers.

use std::{sync::Arc, time::Duration};

use tower_revoke_core::{Clock, HttpClient, IssuerMetadata, internal::MetadataSource};
#[cfg(feature = "https")]
use tower_revoke_http::HttpsClient;

use super::key_config::KeyConfig;
use crate::{
    Algorithm, IssuerError, JwtVerifierError,
    keys::remote::{KeyLocation, Origin, Remote, Timing},
};

/// The longest time of any setting: sums of a few never overflow.
const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[derive(Default)]
pub(super) struct FetchConfig {
    pub(super) client: Option<Arc<dyn HttpClient>>,
    pub(super) timing: Timing,
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
        };
        Ok(Some(Remote::new(origin, self.timing)))
    }

    /// Sets the default client, if none is set.
    #[cfg(feature = "https")]
    pub(super) fn set_default_client(&mut self) -> Result<(), JwtVerifierError> {
        if self.client.is_none() {
            let client = HttpsClient::new();
            let client = client.map_err(|error| JwtVerifierError::HttpClient(error.into()))?;
            self.client = Some(Arc::new(client));
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), JwtVerifierError> {
        let timing = &self.timing;
        for (setting, given) in [
            (".key_refresh_interval(…)", timing.refresh_interval),
            (".key_refetch_interval(…)", timing.refetch_interval),
            (".key_fetch_timeout(…)", timing.fetch_timeout),
            (".key_max_age(…)", timing.max_age),
        ] {
            if given.is_zero() || given > MAX_TIME {
                return Err(JwtVerifierError::TimeOutOfBounds {
                    setting,
                    given,
                    max: MAX_TIME,
                });
            }
        }
        Ok(())
    }
}
