//! Client secrets and their hashes.

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A client secret of 256 random bits.
///
/// The owner of the client gets the text once, the server keeps the [`hash`](Self::hash). `Debug`
/// doesn't show it.
///
/// # Examples
/// ```
/// use tower_revoke_endpoints::ClientSecret;
///
/// let secret = ClientSecret::generate()?;
/// assert_eq!(secret.as_str().len(), 43);
/// println!("hash to configure: {}", secret.hash());
/// # Ok::<(), tower_revoke_endpoints::SecretError>(())
/// ```
pub struct ClientSecret(Zeroizing<String>);

impl ClientSecret {
    /// Draws a secret.
    ///
    /// # Errors
    /// [`SecretError::Random`] if the operating system has no random numbers.
    pub fn generate() -> Result<Self, SecretError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes).map_err(|_| SecretError::Random)?;
        Ok(Self(Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(*bytes))))
    }

    /// Returns the secret itself. Anyone who has it can act as the client.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns its hash.
    pub fn hash(&self) -> SecretHash {
        SecretHash::unchecked(&self.0)
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(…)")
    }
}

/// The SHA-256 of a client secret.
///
/// It is displayed and parsed as 64 hexadecimal digits. A fast hash suffices for secrets that can't be
/// guessed, so [`of`](Self::of) rejects short ones. For passwords, implement
/// [`ClientAuthenticator`](crate::ClientAuthenticator) with a slow hash.
///
/// # Examples
/// ```
/// use tower_revoke_endpoints::{SecretError, SecretHash};
///
/// let hash = SecretHash::of("vNhSnRZ0xp3VGXLFeBnN3RZm8uUqJpQd")?;
/// assert_eq!(hash.to_string().parse(), Ok(hash));
/// assert_eq!(SecretHash::of("hunter2"), Err(SecretError::TooShort));
/// # Ok::<(), SecretError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

/// The length below which a secret might be guessed.
const MIN_LEN: usize = 32;

/// Why there is no secret, or no hash of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The secret has fewer than 32 characters.
    #[error("the client secret has fewer than {MIN_LEN} characters")]
    TooShort,
    /// The text is not 64 hexadecimal digits.
    #[error("the hash of a client secret is not 64 hexadecimal digits")]
    NotAHash,
    /// The operating system has no random numbers.
    #[error("the operating system has no random numbers")]
    Random,
}

impl SecretHash {
    /// Hashes a secret.
    ///
    /// # Errors
    /// [`SecretError::TooShort`] below 32 characters.
    pub fn of(secret: &str) -> Result<Self, SecretError> {
        match secret.chars().count() < MIN_LEN {
            true => Err(SecretError::TooShort),
            false => Ok(Self::unchecked(secret)),
        }
    }

    fn unchecked(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// Returns whether this is the hash of `secret`, in constant time.
    pub fn matches(&self, secret: &str) -> bool {
        Self::unchecked(secret).0.ct_eq(&self.0).into()
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

impl FromStr for SecretHash {
    type Err = SecretError;

    fn from_str(digits: &str) -> Result<Self, SecretError> {
        let mut hash = [0; 32];
        let pairs = digits.as_bytes().chunks(2);
        if digits.len() != 64 {
            return Err(SecretError::NotAHash);
        }
        for (byte, pair) in hash.iter_mut().zip(pairs) {
            let digit = |digit: &u8| (*digit as char).to_digit(16).ok_or(SecretError::NotAHash);
            let value = pair
                .iter()
                .try_fold(0, |sum, one| Ok(sum * 16 + digit(one)?))?;
            *byte = value as u8;
        }
        Ok(Self(hash))
    }
}
