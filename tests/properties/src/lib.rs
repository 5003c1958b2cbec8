//! What holds for every input, however hostile: one function per parser, from bytes to an assertion.
//!
//! The proptests beside this crate and the targets in `fuzz` call the same functions. Where it can,
//! a property compares what the crates read with a second reading, written from the RFC and sharing
//! no code with the first.

mod body;
mod claims;
mod discovery;
mod json;
mod jwks;
mod jwt;
mod path;
mod percent;
mod sources;

/// A property: panics with what was violated.
pub type Property = fn(&[u8]);

/// Every property, by the name that its fuzz target and its seeds have.
pub const ALL: [(&str, Property); 11] = [
    ("authorization", sources::authorization),
    ("body", body::body),
    ("claims", claims::claims),
    ("cookie", sources::cookie),
    ("discovery", discovery::discovery),
    ("jwks", jwks::jwks),
    ("jwt_header", jwt::jwt_header),
    ("jwt_split", jwt::jwt_split),
    ("path", path::path),
    ("query", sources::query),
    ("subprotocol", sources::subprotocol),
];

/// Asserts the property of this name.
///
/// # Panics
///
/// If it doesn't hold for `input`, or there is none of this name.
pub fn check(name: &str, input: &[u8]) {
    let found = ALL.iter().find(|(known, _)| *known == name);
    let (_, property) = found.expect("a property of this name");
    property(input);
}
