//! Identifiers of tokens and of their uses: hashes and random numbers, never the token itself.

use std::fmt;

use serde::{Deserialize, Serialize};
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

    /// Returns the id of an opaque token of `resolver` (an introspection endpoint, a token store).
    pub fn of_opaque(resolver: &str, token: &[u8]) -> Self {
        Self(digest("opaque", &[resolver.as_bytes(), token]))
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
        assert_ne!(TokenId::of_jwt("a", "b"), TokenId::of_opaque("a", b"b"));
        assert_ne!(TokenId::of_signing_input("a"), TokenId::of_opaque("a", b""));
    }

    /// Stores outlive releases. If an id changed, every stored revocation would be lost.
    #[test]
    fn ids_stay_the_same_between_releases() {
        for (id, expected) in [
            (TokenId::of_jwt("https://id.example.com", "1"), "be7d7f69"),
            (TokenId::of_signing_input("e30.e30"), "0e91d538"),
            (TokenId::of_opaque("r", b"t"), "bdd1f5b0"),
        ] {
            assert_eq!(id.to_string(), expected);
        }
    }
}
