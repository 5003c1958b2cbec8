//! Identifiers of tokens and of their uses: hashes and random numbers, never the token itself.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest, Sha256};

/// The id under which one token is listed: the first 128 bits of a SHA-256.
///
/// The token can't be recovered from it, and finding a second token with the same id is infeasible.
///
/// Every field is hashed with its length, after a tag for the kind of id, so that different inputs
/// never collide: `(iss "a", jti "bc")` and `("ab", "c")` differ, and so do a JWT and an opaque
/// token.
#[doc(alias = "jti")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenId([u8; 16]);

impl TokenId {
    /// Returns the id of a JWT with a `jti`, which is unique per issuer (RFC 7519 §4.1.7).
    pub fn of_jwt(issuer: &str, jwt_id: &str) -> Self {
        Self(digest("jwt", &[issuer.as_bytes(), jwt_id.as_bytes()]))
    }

    /// Returns the id of a JWT without a `jti`, or with one that is not a string, from its signing
    /// input (`header.payload`).
    ///
    /// The signature is not part of it, since a signature can be re-encoded without the key.
    pub fn of_signing_input(signing_input: &str) -> Self {
        Self(digest("signing-input", &[signing_input.as_bytes()]))
    }

    /// Returns the id of an opaque token, issued or introspected, from its hash.
    ///
    /// `resolver` names who knows the token: the issuer, or an introspection endpoint.
    ///
    /// ```
    /// use tower_revoke_core::{TokenHash, TokenId};
    ///
    /// let id = TokenId::of_opaque("https://id.example.com", &TokenHash::of(b"acme_7fk"));
    /// # let _ = id;
    /// ```
    pub fn of_opaque(resolver: &str, token: &TokenHash) -> Self {
        Self(digest("opaque", &[resolver.as_bytes(), token.as_bytes()]))
    }

    /// Makes an id from bytes that were stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the hash.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Writes the first four bytes in hex: enough to find an entry, too little to forge one.
impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0[..4])
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

/// The SHA-256 of an opaque token, by which stores find what was issued.
///
/// A token of 128 random bits or more can't be recovered from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Returns the hash of a token.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Makes a hash from bytes that were stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Shows the first four bytes in hex.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(")?;
        write_hex(f, &self.0[..4])?;
        f.write_str(")")
    }
}

/// As 64 hexadecimal digits.
impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Hex<'a>(&'a [u8]);
        impl fmt::Display for Hex<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, self.0)
            }
        }
        serializer.collect_str(&Hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let byte = |pair: &[u8; 2]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        let bytes = bytes.filter(|_| rest.is_empty()).unwrap_or_default();
        let whole = bytes.try_into().map(Self);
        whole.map_err(|_| D::Error::custom("a token's hash is 64 hexadecimal digits"))
    }
}

/// Identifies one use of a token: 128 random bits. Two calls that take a use with one id take one
/// use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UseId([u8; 16]);

impl UseId {
    /// Makes an id from random bytes. Equal bytes mean the same use.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for UseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UseId(")?;
        write_hex(f, &self.0)?;
        f.write_str(")")
    }
}

/// Returns the first half of a SHA-256 over a tag and fields, each with its length. It halves the
/// memory of a list of many millions, and a second preimage remains infeasible.
pub(crate) fn digest(tag: &str, fields: &[&[u8]]) -> [u8; 16] {
    let fields = fields.iter();
    fields
        .fold(Fields::new(tag), |hash, field| hash.field(field))
        .finish()
}

/// Computes a [`digest`] field by field.
#[derive(Clone)]
pub(crate) struct Fields(Sha256);

impl Fields {
    pub(crate) fn new(tag: &str) -> Self {
        let hash = Sha256::new().chain_update(b"tower-revoke/1/");
        Self(hash).field(tag.as_bytes())
    }

    pub(crate) fn field(mut self, field: &[u8]) -> Self {
        self.0.update((field.len() as u64).to_be_bytes());
        self.0.update(field);
        self
    }

    pub(crate) fn finish(self) -> [u8; 16] {
        let whole = self.0.finalize();
        std::array::from_fn(|at| whole[at])
    }
}

pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TRAPS 34: fields hashed without their lengths.
    #[test]
    fn trap_34_fields_carry_their_lengths() {
        assert_ne!(TokenId::of_jwt("a", "bc"), TokenId::of_jwt("ab", "c"));
        assert_ne!(TokenId::of_jwt("", "abc"), TokenId::of_jwt("abc", ""));
    }

    #[test]
    fn token_kinds_never_collide() {
        let hash = TokenHash::of(b"b");
        let text = String::from_utf8_lossy(hash.as_bytes());
        let opaque = TokenId::of_opaque("a", &hash);
        assert_ne!(opaque, TokenId::of_opaque("b", &hash));
        assert_ne!(opaque, TokenId::of_opaque("a", &TokenHash::of(b"c")));
        assert_ne!(opaque, TokenId::of_jwt("a", &text));
        assert_ne!(opaque, TokenId::of_signing_input("a"));
    }

    #[test]
    fn a_hash_is_serialized_in_hex() {
        let hash = TokenHash::of(b"t");
        let text = serde_json::to_string(&hash).unwrap();
        assert_eq!(text.len(), 66);
        assert_eq!(serde_json::from_str::<TokenHash>(&text).unwrap(), hash);
        for wrong in [
            "",
            "\"\"",
            "\"e3b9\"",
            "7",
            &text.replace('e', "g"),
            &text.replace('e', "ee"),
        ] {
            assert!(serde_json::from_str::<TokenHash>(wrong).is_err(), "{wrong}");
        }
        assert!(!format!("{hash:?}").contains(&text[1..20]));
    }

    /// Stores outlive releases. If an id changed, every stored revocation would be lost.
    #[test]
    fn ids_stay_the_same_between_releases() {
        for (id, expected) in [
            (TokenId::of_jwt("https://id.example.com", "1"), "be7d7f69"),
            (TokenId::of_signing_input("e30.e30"), "0e91d538"),
            (TokenId::of_opaque("r", &TokenHash::of(b"t")), "625c090c"),
        ] {
            assert_eq!(id.to_string(), expected);
        }
    }
}
