//! A configured key or key set, before it is parsed.

use std::path::PathBuf;

#[cfg(feature = "remote")]
use tower_revoke_core::Endpoint;
use zeroize::Zeroizing;

use crate::Algorithm;

#[derive(Clone, PartialEq)]
pub(super) enum KeyConfig {
    File(PathBuf),
    Set(String),
    /// A key set to fetch.
    #[cfg(feature = "remote")]
    Url(Endpoint),
    /// A key set to fetch from the `jwks_uri` of the issuer's metadata.
    #[cfg(feature = "remote")]
    Discovery,
    Pem(Algorithm, Vec<u8>),
    Der(Algorithm, Vec<u8>),
    Secret(Algorithm, Zeroizing<Vec<u8>>),
}

impl KeyConfig {
    /// The algorithm that it is configured with.
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        match self {
            Self::Pem(algorithm, _) | Self::Der(algorithm, _) | Self::Secret(algorithm, _) => {
                Some(*algorithm)
            }
            _ => None,
        }
    }

    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(..))
    }

    pub(super) fn is_fetched(&self) -> bool {
        match self {
            #[cfg(feature = "remote")]
            Self::Url(_) | Self::Discovery => true,
            _ => false,
        }
    }
}
