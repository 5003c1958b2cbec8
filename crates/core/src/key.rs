//! Keys of revocations: one token, or all tokens that share a claim.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    TokenId,
    id::{digest, write_hex},
};

/// The key of a revocation.
///
/// All keys but [`Token`](Self::Token) are those of **rules**, which revoke every token that
/// carries the claim and was issued at or before a given time. The key of a rule is kept in plain
/// text, for operators; that of a token is a hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RevocationKey {
    /// One token.
    Token(TokenId),
    /// Every token of an issuer whose claim `name` is the string `value`; without a claim, every
    /// token of the issuer.
    Rule {
        /// `iss`.
        issuer: String,
        /// The claim's name and value.
        claim: Option<(Cow<'static, str>, String)>,
    },
}

impl RevocationKey {
    /// Makes the key of all tokens of an issuer.
    pub fn issuer(issuer: impl Into<String>) -> Self {
        Self::Rule {
            issuer: issuer.into(),
            claim: None,
        }
    }

    /// Makes the key of all tokens of an issuer's subject (`sub`): "log out everywhere".
    pub fn subject(issuer: impl Into<String>, subject: impl Into<String>) -> Self {
        Self::claim(issuer, "sub", subject)
    }

    /// Makes the key of all tokens issued to a client, whichever claim names it
    /// ([`ClaimNames`](crate::ClaimNames)). It equals that of the claim `client_id`.
    pub fn client(issuer: impl Into<String>, client: impl Into<String>) -> Self {
        Self::claim(issuer, "client_id", client)
    }

    /// Makes the key of all tokens of a session, whichever claim names it. It equals that of the
    /// claim `sid`.
    pub fn session(issuer: impl Into<String>, session: impl Into<String>) -> Self {
        Self::claim(issuer, "sid", session)
    }

    /// Makes the key of all tokens of a grant, whichever claim names it: the refresh tokens that go
    /// back to one authorization, and the access tokens that were issued for them. See
    /// [`Revocation::of_grant`](crate::Revocation::of_grant). It equals that of the claim `grant_id`.
    pub fn grant(issuer: impl Into<String>, grant: impl Into<String>) -> Self {
        Self::claim(issuer, "grant_id", grant)
    }

    /// Makes the key of all tokens with a claim of the user's choice.
    ///
    /// The verifier must be configured to check that claim, see
    /// [`VerifiedToken::with_rule_claim`](crate::VerifiedToken::with_rule_claim). The names `sub`,
    /// `client_id`, `sid` and `grant_id` stand for the subject, client, session and grant, which are
    /// always checked.
    pub fn claim(
        issuer: impl Into<String>,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<String>,
    ) -> Self {
        Self::Rule {
            issuer: issuer.into(),
            claim: Some((name.into(), value.into())),
        }
    }

    /// Returns the fixed-length digest under which stores keep the key.
    pub fn digest(&self) -> KeyDigest {
        match self {
            Self::Token(id) => KeyDigest::of_token(*id),
            Self::Rule {
                issuer,
                claim: None,
            } => KeyDigest::of_issuer(issuer),
            Self::Rule {
                issuer,
                claim: Some((name, value)),
            } => KeyDigest::of_claim(issuer, name, value),
        }
    }

    /// Returns `true` for every key but a token's.
    pub fn is_rule(&self) -> bool {
        matches!(self, Self::Rule { .. })
    }
}

impl From<TokenId> for RevocationKey {
    fn from(id: TokenId) -> Self {
        Self::Token(id)
    }
}

/// A [`RevocationKey`] in the 16 bytes that stores and caches keep.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyDigest([u8; 16]);

impl KeyDigest {
    /// Returns the digest of a token's key: its id, which is already a hash.
    pub const fn of_token(id: TokenId) -> Self {
        Self(*id.as_bytes())
    }

    /// Returns the id of the token. It is meaningless for the digest of a rule's key.
    pub const fn as_token(&self) -> TokenId {
        TokenId::from_bytes(self.0)
    }

    pub(crate) fn of_issuer(issuer: &str) -> Self {
        Self(digest("rule-issuer", &[issuer.as_bytes()]))
    }

    pub(crate) fn of_claim(issuer: &str, name: &str, value: &str) -> Self {
        Self(digest(
            "rule-claim",
            &[issuer.as_bytes(), name.as_bytes(), value.as_bytes()],
        ))
    }

    /// Makes a digest from bytes that were stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the hash.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(")?;
        write_hex(f, &self.0[..4])?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_different_kinds_never_collide() {
        let keys = [
            RevocationKey::issuer("a"),
            RevocationKey::subject("a", "b"),
            RevocationKey::client("a", "b"),
            RevocationKey::session("a", "b"),
            RevocationKey::grant("a", "b"),
            RevocationKey::claim("a", "tenant", "b"),
            RevocationKey::Token(TokenId::of_jwt("a", "b")),
        ];
        for (at, key) in keys.iter().enumerate() {
            for other in &keys[at + 1..] {
                assert_ne!(key.digest(), other.digest(), "{key:?} {other:?}");
            }
        }
        let rules = keys.iter().filter(|key| key.is_rule()).count();
        assert_eq!(rules, keys.len() - 1);
        assert!(!RevocationKey::from(TokenId::of_jwt("a", "b")).is_rule());
    }

    /// Stores outlive releases. If a digest changed, every stored rule would be lost.
    #[test]
    fn digests_of_rules_stay_the_same_between_releases() {
        let issuer = "https://id.example.com";
        for (key, expected) in [
            (RevocationKey::issuer(issuer), "161b28d8"),
            (RevocationKey::subject(issuer, "ann"), "91588327"),
            (RevocationKey::client(issuer, "app"), "71644bb5"),
            (RevocationKey::session(issuer, "s1"), "15ed1183"),
            (RevocationKey::claim(issuer, "tenant", "acme"), "96f69cda"),
        ] {
            assert_eq!(
                format!("{:?}", key.digest()),
                format!("KeyDigest({expected})")
            );
        }
    }
}
