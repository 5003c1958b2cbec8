//! How keys are fetched, for all issuers.

use std::{sync::Arc, time::Duration};

use tower_revoke_core::{Clock, HttpClient, IssuerMetadata, internal::MetadataSource};

use super::key_config::KeyConfig;
use crate::{
    JwtVerifierError,
    algorithm::AlgorithmSet,
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
        allowed: AlgorithmSet,
        clock: &Clock,
    ) -> Result<Option<Remote>, JwtVerifierError> {
        let mut locations = keys.iter().filter_map(|config| match config {
            KeyConfig::Url(url) => Some(Ok(KeyLocation::Url(url.clone()))),
            KeyConfig::Discovery => {
                let metadata = MetadataSource::new(issuer, IssuerMetadata::jwks_uri);
                Some(metadata.map(KeyLocation::Discovered))
            }
            _ => None,
        });
        let Some(location) = locations.next() else {
            return Ok(None);
        };
        if locations.next().is_some() {
            return Err(JwtVerifierError::Contradiction {
                issuer: issuer.to_owned(),
                settings: "two of .jwks_url(…) and .discover()",
            });
        }
        let location = location.map_err(|error| JwtVerifierError::Discovery {
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
            location,
            client,
            allowed,
            clock: clock.clone(),
        };
        Ok(Some(Remote::new(origin, self.timing)))
    }

    fn check_timing(&self) -> Result<(), JwtVerifierError> {
        let timing = &self.timing;
        let times = [
            (timing.refresh_interval, ".key_refresh_interval(…)"),
            (timing.refetch_interval, ".key_refetch_interval(…)"),
            (timing.fetch_timeout, ".key_fetch_timeout(…)"),
            (timing.max_age, ".key_max_age(…)"),
        ];
        for (given, setting) in times {
            if given.is_zero() {
                return Err(JwtVerifierError::ZeroTime { setting });
            }
            if given > MAX_TIME {
                return Err(JwtVerifierError::TimeTooLong {
                    setting,
                    given,
                    max: MAX_TIME,
                });
            }
        }
        Ok(())
    }
}
