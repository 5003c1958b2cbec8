//! The client's own credentials.

use form_urlencoded::Serializer;
use http::HeaderValue;
use tower_revoke_core::{BoxError, UnixTime, internal::basic_authorization};
use zeroize::Zeroizing;

use crate::{SigningKey, assertion::ASSERTION_TYPE};

/// Why client credentials can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The client id is empty.
    #[error("the client id is empty")]
    EmptyId,
    /// The client secret is empty, as it is where a variable is not set.
    #[error("the client secret is empty")]
    EmptySecret,
}

/// A client id, and what proves it. Both are erased from memory when they are dropped. The copies in
/// requests belong to the HTTP client.
pub(crate) struct Credentials {
    id: Zeroizing<String>,
    proof: Proof,
}

enum Proof {
    Secret(Zeroizing<String>),
    Key(SigningKey),
}

impl Credentials {
    pub(crate) fn secret(id: String, secret: String) -> Result<Self, CredentialsError> {
        let secret = Zeroizing::new(secret);
        if !id.is_empty() && secret.is_empty() {
            return Err(CredentialsError::EmptySecret);
        }
        Self::new(id, Proof::Secret(secret))
    }

    pub(crate) fn key(id: String, key: SigningKey) -> Result<Self, CredentialsError> {
        Self::new(id, Proof::Key(key))
    }

    fn new(id: String, proof: Proof) -> Result<Self, CredentialsError> {
        let id = Zeroizing::new(id);
        match id.is_empty() {
            true => Err(CredentialsError::EmptyId),
            false => Ok(Self { id, proof }),
        }
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.id
    }

    /// Adds what a request needs to its form, and returns the value of `Authorization` if there is to
    /// be one. Never both (RFC 6749 §2.3).
    ///
    /// # Errors
    /// If an assertion can't be signed.
    pub(crate) fn authenticate(
        &self,
        secret_in_form: bool,
        audience: &str,
        now: UnixTime,
        form: &mut Serializer<'_, String>,
    ) -> Result<Option<HeaderValue>, BoxError> {
        match &self.proof {
            Proof::Secret(secret) if !secret_in_form => {
                return Ok(Some(basic_authorization(&self.id, secret)));
            }
            Proof::Secret(secret) => {
                form.append_pair("client_id", &self.id);
                form.append_pair("client_secret", secret);
            }
            Proof::Key(key) => {
                form.append_pair("client_id", &self.id);
                form.append_pair("client_assertion_type", ASSERTION_TYPE);
                let assertion = key.assertion(&self.id, audience, now)?;
                form.append_pair("client_assertion", &assertion);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_credentials_are_rejected() {
        let error = |id: &str, secret: &str| Credentials::secret(id.into(), secret.into()).err();
        assert_eq!(error("", "s"), Some(CredentialsError::EmptyId));
        assert_eq!(error("", ""), Some(CredentialsError::EmptyId));
        assert_eq!(error("a", ""), Some(CredentialsError::EmptySecret));
        assert_eq!(error("a", "s"), None);
    }
}
