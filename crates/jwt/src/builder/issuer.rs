//! One issuer as it was configured, and the checks on that.

use std::{fmt, path::PathBuf, sync::Arc};

use tower_revoke_core::Clock;
#[cfg(feature = "remote")]
use tower_revoke_core::Endpoint;
use tower_revoke_core::{UnixTime, internal::IssuerDigests};
use zeroize::Zeroizing;

#[cfg(feature = "remote")]
use super::remote::Settings;
use crate::{
    Algorithm, JwtVerifierError, KeySetError,
    algorithm::AlgorithmSet,
    backend::{KeyError, Material},
    keys::{
        Key, KeyFile, KeySet, Skipped, Source, public_der, read_set, seems_public, starts_as_der,
    },
    rules::Rules,
    verifier::TrustedIssuer,
};

/// What key sets are read with, unless algorithms are named: one for each type of key.
const SET_ALGORITHMS: [Algorithm; 4] = [
    Algorithm::RS256,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

pub(super) struct IssuerConfig {
    name: String,
    pub(super) rules: Rules,
    pub(super) algorithms: Option<AlgorithmSet>,
    pub(super) keys: Vec<Given>,
}

/// A key, or a place with keys, as it was given.
pub(super) enum Given {
    File(PathBuf),
    Set(String),
    /// A key set that is fetched.
    #[cfg(feature = "remote")]
    Url(Endpoint),
    /// A key set that is fetched from where the issuer says.
    #[cfg(feature = "remote")]
    Discovery,
    Pem(Algorithm, Vec<u8>),
    Der(Algorithm, Vec<u8>),
    Secret(Algorithm, Zeroizing<Vec<u8>>),
}

impl Given {
    /// The algorithm that it was named with.
    fn algorithm(&self) -> Option<Algorithm> {
        match self {
            Self::Pem(algorithm, _) | Self::Der(algorithm, _) | Self::Secret(algorithm, _) => {
                Some(*algorithm)
            }
            _ => None,
        }
    }

    fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(..))
    }

    fn is_fetched(&self) -> bool {
        match self {
            #[cfg(feature = "remote")]
            Self::Url(_) | Self::Discovery => true,
            _ => false,
        }
    }
}

impl IssuerConfig {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            rules: Rules::default(),
            algorithms: None,
            keys: Vec::new(),
        }
    }

    pub(super) fn build(
        self,
        clock: &Clock,
        #[cfg(feature = "remote")] settings: &Settings,
    ) -> Result<TrustedIssuer, JwtVerifierError> {
        self.check_rules()?;
        let algorithms = self.check_algorithms()?;
        #[cfg(feature = "remote")]
        let remote = settings.remote(&self.name, &self.keys, algorithms, clock)?;
        let now = clock.now();
        let mut sources = Vec::with_capacity(self.keys.len());
        for given in &self.keys {
            let (source, skipped) = self.source(given, algorithms, now)?;
            // What is fetched comes later.
            if source.keys().is_empty() && !given.is_fetched() {
                return Err(JwtVerifierError::NoUsableKey {
                    issuer: self.name,
                    skipped: skipped.len(),
                    first: skipped
                        .first()
                        .map_or_else(|| "the set is empty".to_owned(), Skipped::to_string),
                });
            }
            sources.push(source);
        }
        let keys = KeySet::new(sources, now);
        #[cfg(feature = "remote")]
        let keys = keys.fetched_by(remote);
        Ok(TrustedIssuer {
            digests: IssuerDigests::new(&*self.name),
            name: self.name,
            algorithms,
            rules: self.rules,
            keys: Arc::new(keys),
        })
    }

    fn check_rules(&self) -> Result<(), JwtVerifierError> {
        let issuer = || self.name.clone();
        let rules = &self.rules;
        if self.name.is_empty() {
            return Err(JwtVerifierError::MissingIssuer);
        }
        let is_named = !rules.audiences.is_empty();
        // An empty one, as of a variable that is not set, would be found in a token's empty `aud`.
        let is_empty = rules.audiences.iter().any(String::is_empty);
        if is_empty || (!is_named && !rules.any_audience) {
            return Err(JwtVerifierError::MissingAudience { issuer: issuer() });
        }
        let contradictions = [
            (
                is_named && rules.any_audience,
                ".audience(…) and .any_audience()",
            ),
            (
                rules.allow_no_expiry && rules.access_tokens_only,
                ".allow_no_expiry() and .access_tokens_only()",
            ),
        ];
        match contradictions.iter().find(|(is_there, _)| *is_there) {
            Some((_, settings)) => Err(JwtVerifierError::Contradiction {
                issuer: issuer(),
                settings,
            }),
            None => Ok(()),
        }
    }

    /// The allow-list, in which secrets and public keys never meet.
    fn check_algorithms(&self) -> Result<AlgorithmSet, JwtVerifierError> {
        let issuer = || self.name.clone();
        if self.keys.is_empty() {
            return Err(JwtVerifierError::MissingKeys { issuer: issuer() });
        }
        let has_secret = self.keys.iter().any(Given::is_secret);
        if has_secret && !self.keys.iter().all(Given::is_secret) {
            return Err(JwtVerifierError::SecretsMixed { issuer: issuer() });
        }
        let mut named: AlgorithmSet = self.keys.iter().filter_map(Given::algorithm).collect();
        let Some(allowed) = self.algorithms else {
            if self.keys.iter().any(|given| given.algorithm().is_none()) {
                named.extend(SET_ALGORITHMS);
            }
            return Ok(named);
        };
        if allowed.is_empty() {
            return Err(JwtVerifierError::NoAlgorithms { issuer: issuer() });
        }
        if let Some(algorithm) = named.iter().find(|named| !allowed.contains(*named)) {
            return Err(JwtVerifierError::AlgorithmNotAllowed {
                issuer: issuer(),
                algorithm,
            });
        }
        let without_secret = allowed
            .iter()
            .find(|algorithm| algorithm.is_symmetric() && !named.contains(*algorithm));
        if let Some(algorithm) = without_secret {
            return Err(JwtVerifierError::MissingSecret {
                issuer: issuer(),
                algorithm,
            });
        }
        if has_secret && !allowed.iter().all(Algorithm::is_symmetric) {
            return Err(JwtVerifierError::SecretsMixed { issuer: issuer() });
        }
        Ok(allowed)
    }

    fn source(
        &self,
        given: &Given,
        allowed: AlgorithmSet,
        now: UnixTime,
    ) -> Result<(Source, Vec<Skipped>), JwtVerifierError> {
        let fixed = |key: Key| (Source::Fixed(vec![Arc::new(key)]), Vec::new());
        match given {
            Given::File(path) => {
                let opened = KeyFile::open(path.clone(), allowed, now);
                let (file, skipped) = opened.map_err(|error| JwtVerifierError::BadKeyFile {
                    issuer: self.name.clone(),
                    path: path.clone(),
                    error,
                })?;
                Ok((Source::File(file), skipped))
            }
            Given::Set(json) => {
                let read = read_set(json.as_bytes(), allowed, &[]);
                let (keys, skipped) = read.map_err(|error| self.bad_set(error))?;
                Ok((Source::Fixed(keys), skipped))
            }
            #[cfg(feature = "remote")]
            Given::Url(_) | Given::Discovery => Ok((Source::Fetched(Vec::new()), Vec::new())),
            Given::Pem(algorithm, pem) => {
                takes_public(*algorithm)?;
                key(*algorithm, Material::Der(&public_der(pem)?)).map(fixed)
            }
            Given::Der(algorithm, der) => {
                takes_public(*algorithm)?;
                // Raw points and raw Ed25519 keys are no DER.
                if !starts_as_der(der) {
                    return Err(JwtVerifierError::BadKey {
                        algorithm: *algorithm,
                    });
                }
                key(*algorithm, Material::Der(der)).map(fixed)
            }
            Given::Secret(algorithm, secret) => {
                check_secret(*algorithm, secret)?;
                key(*algorithm, Material::Secret(secret)).map(fixed)
            }
        }
    }

    fn bad_set(&self, error: KeySetError) -> JwtVerifierError {
        JwtVerifierError::BadKeySet {
            issuer: self.name.clone(),
            error,
        }
    }
}

fn takes_public(algorithm: Algorithm) -> Result<(), JwtVerifierError> {
    match algorithm.is_symmetric() {
        true => Err(JwtVerifierError::WrongKind { algorithm }),
        false => Ok(()),
    }
}

fn check_secret(algorithm: Algorithm, secret: &[u8]) -> Result<(), JwtVerifierError> {
    if !algorithm.is_symmetric() {
        return Err(JwtVerifierError::WrongKind { algorithm });
    }
    if seems_public(secret) {
        return Err(JwtVerifierError::SecretIsPublic);
    }
    let least = algorithm.least_secret();
    if secret.len() < least {
        return Err(JwtVerifierError::WeakSecret {
            algorithm,
            least,
            actual: secret.len(),
        });
    }
    Ok(())
}

fn key(algorithm: Algorithm, material: Material<'_>) -> Result<Key, JwtVerifierError> {
    Key::new(None, algorithm, material).map_err(|error| match error {
        KeyError::NoBackend => JwtVerifierError::NoBackend,
        KeyError::RsaSize => JwtVerifierError::RsaSize,
        KeyError::Invalid => JwtVerifierError::BadKey { algorithm },
    })
}

impl fmt::Debug for IssuerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("name", &self.name)
            .field("rules", &self.rules)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}
