//! The configuration of one issuer, and its checks.

use std::{fmt, sync::Arc};

use tower_revoke_core::{UnixTime, internal::IssuerDigests};

use super::{BuildContext, key_config::KeyConfig};
use crate::{
    Algorithm, IssuerError, JwtVerifierError,
    backend::{KeyError, Material, VerifyingKey},
    issuers::Issuer,
    keys::{
        Key, KeyFile, KeySet, Skipped, Source, is_public_key, public_der, read_set, starts_as_der,
    },
    rules::Rules,
};

/// The default algorithms for key sets: one for each type of key.
const DEFAULT_SET_ALGORITHMS: [Algorithm; 4] = [
    Algorithm::RS256,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

#[derive(Clone, PartialEq)]
pub(crate) struct IssuerConfig {
    name: String,
    pub(super) rules: Rules,
    pub(super) algorithms: Option<Arc<[Algorithm]>>,
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

    #[cfg(feature = "remote")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether nothing was set.
    #[cfg(feature = "remote")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::new(String::new())
    }

    #[cfg(feature = "remote")]
    pub(super) fn is_fetched(&self) -> bool {
        self.keys.iter().any(KeyConfig::is_fetched)
    }

    pub(super) fn build(self, context: &BuildContext) -> Result<Issuer, JwtVerifierError> {
        if self.name.is_empty() {
            return Err(JwtVerifierError::MissingIssuer);
        }
        let checked = self
            .rules
            .check(context.bounds_lives)
            .and_then(|()| self.check_algorithms())
            .and_then(|algorithms| {
                let clock = &context.clock;
                let keys = KeySet::new(self.sources(&algorithms, clock.now())?, clock.now());
                #[cfg(feature = "remote")]
                let keys = keys.fetched_by(context.fetch.remote(
                    &self.name,
                    &self.keys,
                    &algorithms,
                    clock,
                )?);
                Ok((algorithms, keys))
            });
        match checked {
            Ok((algorithms, keys)) => Ok(Issuer {
                digests: IssuerDigests::new(&*self.name),
                name: self.name,
                algorithms,
                rules: self.rules,
                keys: Arc::new(keys),
            }),
            Err(error) => Err(JwtVerifierError::Issuer(self.name, error)),
        }
    }

    /// The allow-list, which never has algorithms for both secrets and public keys.
    fn check_algorithms(&self) -> Result<Arc<[Algorithm]>, IssuerError> {
        if self.keys.is_empty() {
            return Err(IssuerError::MissingKeys);
        }
        let has_secret = self.keys.iter().any(KeyConfig::is_secret);
        if has_secret && !self.keys.iter().all(KeyConfig::is_secret) {
            return Err(IssuerError::SecretsMixed);
        }
        let mut named: Vec<_> = self.keys.iter().filter_map(KeyConfig::algorithm).collect();
        let Some(allowed) = &self.algorithms else {
            if named.len() < self.keys.len() {
                named.extend(DEFAULT_SET_ALGORITHMS);
            }
            return Ok(named.into());
        };
        if allowed.is_empty() {
            return Err(IssuerError::NoAlgorithms);
        }
        if let Some(algorithm) = named.iter().find(|named| !allowed.contains(named)) {
            return Err(IssuerError::AlgorithmNotAllowed(*algorithm));
        }
        let without_secret = allowed
            .iter()
            .find(|algorithm| algorithm.is_symmetric() && !named.contains(algorithm));
        if let Some(algorithm) = without_secret {
            return Err(IssuerError::MissingSecret(*algorithm));
        }
        if has_secret && !allowed.iter().all(|algorithm| algorithm.is_symmetric()) {
            return Err(IssuerError::SecretsMixed);
        }
        Ok(allowed.clone())
    }

    /// Reads the keys. Each set must have a usable one, but those that are fetched come later.
    fn sources(
        &self,
        allowed: &Arc<[Algorithm]>,
        now: UnixTime,
    ) -> Result<Vec<Source>, IssuerError> {
        let mut sources = Vec::with_capacity(self.keys.len());
        for config in &self.keys {
            let (source, skipped) = source(config, allowed, now)?;
            if source.keys().is_empty() && !config.is_fetched() {
                return Err(IssuerError::NoUsableKey {
                    skipped: skipped.len(),
                    first: skipped
                        .first()
                        .map_or_else(|| "the set is empty".to_owned(), Skipped::to_string),
                });
            }
            sources.push(source);
        }
        Ok(sources)
    }
}

fn source(
    config: &KeyConfig,
    allowed: &Arc<[Algorithm]>,
    now: UnixTime,
) -> Result<(Source, Vec<Skipped>), IssuerError> {
    let key = match config {
        KeyConfig::File(path) => {
            let opened = KeyFile::open(path.clone(), allowed.clone(), now);
            let (file, skipped) = opened.map_err(|error| IssuerError::BadKeyFile {
                path: path.clone(),
                error,
            })?;
            return Ok((Source::File(file), skipped));
        }
        KeyConfig::Set(json) => {
            let read = read_set(json.as_bytes(), allowed, &[]);
            let (keys, skipped) = read.map_err(IssuerError::BadKeySet)?;
            return Ok((Source::Fixed(keys), skipped));
        }
        #[cfg(feature = "remote")]
        KeyConfig::Url(_) | KeyConfig::Discovery => {
            return Ok((Source::Fetched(Vec::new()), Vec::new()));
        }
        KeyConfig::Pem(algorithm, pem) => {
            check_public(*algorithm)?;
            key(*algorithm, Material::Der(&public_der(pem)?))?
        }
        KeyConfig::Der(algorithm, der) => {
            check_public(*algorithm)?;
            // Raw points and raw Ed25519 keys are not DER.
            if !starts_as_der(der) {
                return Err(IssuerError::BadKey(*algorithm));
            }
            key(*algorithm, Material::Der(der))?
        }
        KeyConfig::Secret(algorithm, secret) => {
            check_secret(*algorithm, secret)?;
            key(*algorithm, Material::Secret(secret))?
        }
    };
    Ok((Source::Fixed(vec![Arc::new(key)]), Vec::new()))
}

fn check_public(algorithm: Algorithm) -> Result<(), IssuerError> {
    match algorithm.is_symmetric() {
        true => Err(IssuerError::WrongKind(algorithm)),
        false => Ok(()),
    }
}

fn check_secret(algorithm: Algorithm, secret: &[u8]) -> Result<(), IssuerError> {
    let min = algorithm.min_secret_bytes();
    if !algorithm.is_symmetric() {
        Err(IssuerError::WrongKind(algorithm))
    } else if is_public_key(secret) {
        Err(IssuerError::SecretIsPublic)
    } else if secret.len() < min {
        Err(IssuerError::WeakSecret {
            algorithm,
            min,
            actual: secret.len(),
        })
    } else {
        Ok(())
    }
}

fn key(algorithm: Algorithm, material: Material<'_>) -> Result<Key, IssuerError> {
    match VerifyingKey::new(algorithm, material) {
        Ok(verifying) => Ok(Key::new(None, algorithm, verifying)),
        Err(KeyError::RsaSize) => Err(IssuerError::RsaSize),
        Err(KeyError::Invalid) => Err(IssuerError::BadKey(algorithm)),
    }
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
