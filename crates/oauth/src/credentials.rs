//! The client's own credentials.

use http::HeaderValue;
use tower_revoke_core::internal::basic_authorization;
use zeroize::Zeroizing;

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

/// A client id and secret, which are erased from memory when they are dropped. The copies in
/// requests belong to the HTTP client.
pub(crate) struct Credentials {
    id: Zeroizing<String>,
    secret: Zeroizing<String>,
}

impl Credentials {
    pub(crate) fn new(id: String, secret: String) -> Result<Self, CredentialsError> {
        let (id, secret) = (Zeroizing::new(id), Zeroizing::new(secret));
        match (id.is_empty(), secret.is_empty()) {
            (true, _) => Err(CredentialsError::EmptyId),
            (_, true) => Err(CredentialsError::EmptySecret),
            _ => Ok(Self { id, secret }),
        }
    }

    /// The value of `Authorization`.
    pub(crate) fn basic(&self) -> HeaderValue {
        basic_authorization(&self.id, &self.secret)
    }

    /// The members of the form.
    pub(crate) fn form(&self) -> [(&'static str, &str); 2] {
        [("client_id", &self.id), ("client_secret", &self.secret)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_credentials_are_rejected() {
        let error = |id: &str, secret: &str| Credentials::new(id.into(), secret.into()).err();
        assert_eq!(error("", "s"), Some(CredentialsError::EmptyId));
        assert_eq!(error("a", ""), Some(CredentialsError::EmptySecret));
        assert_eq!(error("a", "s"), None);
    }
}
