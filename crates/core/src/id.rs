//! Names for one token and for one use of it: hashes and random numbers, never the token itself.

use std::fmt;

use sha2::{Digest, Sha256};

/// Under what one token is listed: the first 128 bits of a SHA-256, from which the token cannot be
/// had, and for which nobody can make a second token.
///
/// Every field goes in with its length and under a tag of its own, so that no two ways to make an
/// id meet: `(iss "a", jti "bc")` and `("ab", "c")` differ, and so do a JWT and an opaque token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; 16]);

impl TokenId {
    /// The id of a JWT with a `jti`, which is unique per issuer (RFC 7519 §4.1.7).
    pub fn of_jwt(issuer: &str, jwt_id: &str) -> Self {
        Self(digest("jwt", &[issuer.as_bytes(), jwt_id.as_bytes()]))
    }

    /// The id of a JWT without a `jti`, or with one that is no string: its signing input
    /// (`header.payload`). Never the whole token, whose signature can be re-encoded without the key.
    pub fn of_signing_input(signing_input: &str) -> Self {
        Self(digest("signing-input", &[signing_input.as_bytes()]))
    }

    /// The id of an opaque token, known to `resolver` (an introspection endpoint, a token store).
    pub fn of_opaque(resolver: &str, token: &[u8]) -> Self {
        Self(digest("opaque", &[resolver.as_bytes(), token]))
    }

    /// An id that was stored before.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The hash.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The first four bytes, in hex: enough to find an entry, too little to be one.
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

/// The name of one use of a token, 128 random bits. A claim asked twice under one id is one claim.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UseId([u8; 16]);

impl UseId {
    /// From random bytes; equal bytes mean the same use.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
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

/// The first half of a SHA-256 over a tag and fields, each with its length. A list of many millions
/// needs half the room, and to find a second input for a digest stays out of reach.
pub(crate) fn digest(tag: &str, fields: &[&[u8]]) -> [u8; 16] {
    let fields = fields.iter();
    fields
        .fold(Fields::new(tag), |hash, field| hash.field(field))
        .finish()
}

/// The same, field by field.
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
    fn kinds_of_token_never_meet() {
        assert_ne!(TokenId::of_jwt("a", "b"), TokenId::of_opaque("a", b"b"));
        assert_ne!(TokenId::of_signing_input("a"), TokenId::of_opaque("a", b""));
    }

    /// Stores outlive releases: an id that changes would forget every revocation.
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
