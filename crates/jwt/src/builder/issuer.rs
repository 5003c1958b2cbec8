//! The configuration of one issuer, and its checks.

use std::{fmt, sync::Arc};

use tower_revoke_core::{Clock, UnixTime, internal::IssuerDigests};

#[cfg(feature = "remote")]
use super::fetch_config::FetchConfig;
use super::key_config::KeyConfig;
use crate::{
    Algorithm, JwtVerifierError, KeySetError,
    algorithm::AlgorithmSet,
    backend::{KeyError, Material},
    keys::{
        Key, KeyFile, KeySet, Skipped, Source, is_public_key, public_der, read_set, starts_as_der,
    },
    rules::Rules,
    verifier::TrustedIssuer,
};

/// The default algorithms for key sets: one for each type of key.
const DEFAULT_SET_ALGORITHMS: [Algorithm; 4] = [
    Algorithm::RS256,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

pub(super) struct IssuerConfig {
    name: String,
    pub(super) rules: Rules,
    pub(super) algorithms: Option<AlgorithmSet>,
    pub(super) keys: Vec<KeyConfig>,
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
        #[cfg(feature = "remote")] fetch: &FetchConfig,
    ) -> Result<TrustedIssuer, JwtVerifierError> {
        self.check_rules()?;
        let algorithms = self.check_algorithms()?;
        #[cfg(feature = "remote")]
        let remote = fetch.remote(&self.name, &self.keys, algorithms, clock)?;
        let now = clock.now();
        let mut sources = Vec::with_capacity(self.keys.len());
        for config in &self.keys {
            let (source, skipped) = self.source(config, algorithms, now)?;
            // Fetched keys come later.
            if source.keys().is_empty() && !config.is_fetched() {
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
        // An empty one, as from an unset variable, would match an empty `aud`.
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
        match contradictions.iter().find(|(is_set, _)| *is_set) {
            Some((_, settings)) => Err(JwtVerifierError::Contradiction {
                issuer: issuer(),
                settings,
            }),
            None => Ok(()),
        }
    }

    /// The allow-list, which never has algorithms for both secrets and public keys.
    fn check_algorithms(&self) -> Result<AlgorithmSet, JwtVerifierError> {
        let issuer = || self.name.clone();
        if self.keys.is_empty() {
            return Err(JwtVerifierError::MissingKeys { issuer: issuer() });
        }
        let has_secret = self.keys.iter().any(KeyConfig::is_secret);
        if has_secret && !self.keys.iter().all(KeyConfig::is_secret) {
            return Err(JwtVerifierError::SecretsMixed { issuer: issuer() });
        }
        let mut named: AlgorithmSet = self.keys.iter().filter_map(KeyConfig::algorithm).collect();
        let Some(allowed) = self.algorithms else {
            if self.keys.iter().any(|config| config.algorithm().is_none()) {
                named.extend(DEFAULT_SET_ALGORITHMS);
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
        config: &KeyConfig,
        allowed: AlgorithmSet,
        now: UnixTime,
    ) -> Result<(Source, Vec<Skipped>), JwtVerifierError> {
        let fixed = |key: Key| (Source::Fixed(vec![Arc::new(key)]), Vec::new());
        match config {
            KeyConfig::File(path) => {
                let opened = KeyFile::open(path.clone(), allowed, now);
                let (file, skipped) = opened.map_err(|error| JwtVerifierError::BadKeyFile {
                    issuer: self.name.clone(),
                    path: path.clone(),
                    error,
                })?;
                Ok((Source::File(file), skipped))
            }
            KeyConfig::Set(json) => {
                let read = read_set(json.as_bytes(), allowed, &[]);
                let (keys, skipped) = read.map_err(|error| self.bad_set(error))?;
                Ok((Source::Fixed(keys), skipped))
            }
            #[cfg(feature = "remote")]
            KeyConfig::Url(_) | KeyConfig::Discovery => {
                Ok((Source::Fetched(Vec::new()), Vec::new()))
            }
            KeyConfig::Pem(algorithm, pem) => {
                check_public(*algorithm)?;
                key(*algorithm, Material::Der(&public_der(pem)?)).map(fixed)
            }
            KeyConfig::Der(algorithm, der) => {
                check_public(*algorithm)?;
                // Raw points and raw Ed25519 keys are not DER.
                if !starts_as_der(der) {
                    return Err(JwtVerifierError::BadKey {
                        algorithm: *algorithm,
                    });
                }
                key(*algorithm, Material::Der(der)).map(fixed)
            }
            KeyConfig::Secret(algorithm, secret) => {
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

fn check_public(algorithm: Algorithm) -> Result<(), JwtVerifierError> {
    match algorithm.is_symmetric() {
        true => Err(JwtVerifierError::WrongKind { algorithm }),
        false => Ok(()),
    }
}

fn check_secret(algorithm: Algorithm, secret: &[u8]) -> Result<(), JwtVerifierError> {
    if !algorithm.is_symmetric() {
        return Err(JwtVerifierError::WrongKind { algorithm });
    }
    if is_public_key(secret) {
        return Err(JwtVerifierError::SecretIsPublic);
    }
    let min = algorithm.min_secret_bytes();
    if secret.len() < min {
        return Err(JwtVerifierError::WeakSecret {
            algorithm,
            min,
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
