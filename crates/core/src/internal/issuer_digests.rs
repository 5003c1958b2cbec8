//! The common prefix of the hashes of one issuer's tokens, computed once.

use std::fmt;

use crate::{KeyDigest, TokenId, id::Fields};

/// Computes the [`TokenId`]s and [`KeyDigest`]s of one issuer's tokens from a precomputed prefix,
/// which takes about half the time.
///
/// ```
/// use tower_revoke_core::{TokenId, internal::IssuerDigests};
///
/// let digests = IssuerDigests::new("https://id.example.com");
/// assert_eq!(digests.token_id("1"), TokenId::of_jwt("https://id.example.com", "1"));
/// ```
#[derive(Clone)]
pub struct IssuerDigests {
    name: String,
    key: KeyDigest,
    token: Fields,
    subject: Fields,
    client: Fields,
    session: Fields,
    grant: Fields,
}

impl IssuerDigests {
    /// Makes the digests of the issuer whose `iss` is `name`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let of_claim = |claim: &str| {
            Fields::new("rule-claim")
                .field(name.as_bytes())
                .field(claim.as_bytes())
        };
        Self {
            key: KeyDigest::of_issuer(&name),
            token: Fields::new("jwt").field(name.as_bytes()),
            subject: of_claim("sub"),
            client: of_claim("client_id"),
            session: of_claim("sid"),
            grant: of_claim("grant_id"),
            name,
        }
    }

    /// Returns `iss`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns [`TokenId::of_jwt`] for this issuer.
    pub fn token_id(&self, jwt_id: &str) -> TokenId {
        TokenId::from_bytes(self.token.clone().field(jwt_id.as_bytes()).finish())
    }

    pub(crate) fn key(&self) -> KeyDigest {
        self.key
    }

    pub(crate) fn subject(&self, value: &str) -> KeyDigest {
        of(&self.subject, value)
    }

    pub(crate) fn client(&self, value: &str) -> KeyDigest {
        of(&self.client, value)
    }

    pub(crate) fn session(&self, value: &str) -> KeyDigest {
        of(&self.session, value)
    }

    pub(crate) fn grant(&self, value: &str) -> KeyDigest {
        of(&self.grant, value)
    }
}

fn of(begun: &Fields, value: &str) -> KeyDigest {
    KeyDigest::from_bytes(begun.clone().field(value.as_bytes()).finish())
}

impl fmt::Debug for IssuerDigests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IssuerDigests").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RevocationKey;

    #[test]
    fn the_digests_are_those_of_the_keys() {
        for issuer in [
            "",
            "i",
            "https://id.example.com/realms/one-of-a-name-that-is-rather-long",
        ] {
            let digests = IssuerDigests::new(issuer);
            assert_eq!(digests.name(), issuer);
            for value in ["", "ann", "1f6ab5a4-3b4e-4a4e-9d0e-5a3f2f0c6c11"] {
                assert_eq!(digests.token_id(value), TokenId::of_jwt(issuer, value));
                for (digest, key) in [
                    (digests.key(), RevocationKey::issuer(issuer)),
                    (
                        digests.subject(value),
                        RevocationKey::subject(issuer, value),
                    ),
                    (digests.client(value), RevocationKey::client(issuer, value)),
                    (
                        digests.session(value),
                        RevocationKey::session(issuer, value),
                    ),
                    (digests.grant(value), RevocationKey::grant(issuer, value)),
                ] {
                    assert_eq!(digest, key.digest(), "{key:?}");
                }
            }
        }
    }
}
