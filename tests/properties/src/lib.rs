//! Properties that hold for every input, however hostile: a function for each parser, from bytes to
//! assertions.
//!
//! The proptests of this crate and the targets in `fuzz` call the same functions. Where possible, a
//! property compares the parser with a second one that was written from the RFC and shares no code
//! with it.

mod assertion;
mod body;
mod claims;
mod discovery;
mod endpoints;
mod introspection;
mod json;
mod jwks;
mod jwt;
mod opaque;
mod path;
mod percent;
mod sources;

/// A property: panics if the input violates it.
pub type Property = fn(&[u8]);

/// All properties, by the names of their fuzz targets and seeds.
pub const ALL: [(&str, Property); 16] = [
    ("assertion", assertion::assertion),
    ("authorization", sources::authorization),
    ("basic", endpoints::basic),
    ("body", body::body),
    ("claims", claims::claims),
    ("cookie", sources::cookie),
    ("discovery", discovery::discovery),
    ("form", endpoints::form),
    ("introspection", introspection::introspection),
    ("jwks", jwks::jwks),
    ("jwt_header", jwt::jwt_header),
    ("jwt_split", jwt::jwt_split),
    ("opaque", opaque::opaque),
    ("path", path::path),
    ("query", sources::query),
    ("subprotocol", sources::subprotocol),
];

/// Asserts the property with this name.
///
/// # Panics
///
/// If `input` violates the property, or if there is no such property.
pub fn check(name: &str, input: &[u8]) {
    let found = ALL.iter().find(|(known, _)| *known == name);
    let (_, property) = found.expect("a property of this name");
    property(input);
}
