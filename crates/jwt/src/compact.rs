//! The compact serialization of a signed token (RFC 7515 §7.1), and its header.

use std::{borrow::Cow, fmt};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{
    Deserialize,
    de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor},
};
use tower_revoke_core::{Claims, ClaimsError, Reason, Rejection, internal::claims_without_names};

use crate::algorithm::Algorithm;

/// A token in its three parts.
#[derive(Clone, Copy)]
pub(crate) struct Compact<'a> {
    /// `header.payload`: what is signed.
    pub(crate) signing_input: &'a str,
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Compact<'a> {
    pub(crate) fn split(token: &'a str) -> Result<Self, Rejection> {
        let split = || {
            let (signing_input, signature) = token.rsplit_once('.')?;
            let (header, payload) = signing_input.split_once('.')?;
            // The dot of a fourth part would be in the payload, which then can't be decoded.
            Some(Self {
                signing_input,
                header,
                payload,
                signature,
            })
        };
        split().ok_or_else(malformed)
    }

    pub(crate) fn header(&self) -> Result<Header, Rejection> {
        Header::read(&decode(self.header)?)
    }

    /// The claims, unverified, and without what depends on the issuer.
    pub(crate) fn payload(&self) -> Result<Claims, Rejection> {
        let json = String::from_utf8(decode(self.payload)?).map_err(|_| malformed())?;
        claims_without_names(json).map_err(|error| match error {
            // No trusted issuer.
            ClaimsError::WrongType(name) if name == "iss" => Reason::WrongIssuer.into(),
            error => error.into(),
        })
    }

    pub(crate) fn signature(&self) -> Result<Vec<u8>, Rejection> {
        decode(self.signature)
    }
}

/// The members of a header that count. `jku`, `jwk`, `x5u` and `x5c` are ignored: a token neither
/// brings its own key nor says where to fetch one (RFC 8725 §3.10).
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    pub(crate) kind: Kind,
}

/// The kind of token that `typ` declares (RFC 8725 §3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No `typ`, or `JWT` or `JOSE`, which declare no kind.
    Any,
    /// `at+jwt` (RFC 9068 §2.1).
    AccessToken,
    /// Any other kind, such as `logout+jwt`.
    Other,
}

impl Header {
    fn read(json: &[u8]) -> Result<Self, Rejection> {
        // The whole header must be UTF-8 (RFC 7515 §5.2); serde_json doesn't check skipped values.
        let json = std::str::from_utf8(json).map_err(|_| malformed())?;
        let header: RawHeader<'_> = serde_json::from_str(json).map_err(unreadable)?;
        if header.has_extensions {
            return Err(malformed().detail("the header has extensions that are not supported"));
        }
        let algorithm = header.algorithm.ok_or_else(malformed)?;
        Ok(Self {
            algorithm: Algorithm::named(&algorithm).ok_or(Reason::AlgorithmNotAllowed)?,
            key_id: header.key_id.map(Cow::into_owned),
            kind: header.kind.map_or(Kind::Any, |typ| Kind::named(&typ)),
        })
    }
}

impl Kind {
    /// Media types are case-insensitive, and `application/` may be left out (RFC 7515 §4.1.9).
    fn named(typ: &str) -> Self {
        const PREFIX: &str = "application/";
        let name = match typ.split_at_checked(PREFIX.len()) {
            Some((prefix, name)) if prefix.eq_ignore_ascii_case(PREFIX) => name,
            _ => typ,
        };
        if name.eq_ignore_ascii_case("at+jwt") {
            Self::AccessToken
        } else if name.eq_ignore_ascii_case("JWT") || name.eq_ignore_ascii_case("JOSE") {
            Self::Any
        } else {
            Self::Other
        }
    }
}

fn malformed() -> Rejection {
    Reason::MalformedToken.into()
}

fn unreadable(error: serde_json::Error) -> Rejection {
    malformed().source(HeaderError(error))
}

/// Rejects padding and non-zero trailing bits: a token must have one spelling only.
fn decode(part: &str) -> Result<Vec<u8>, Rejection> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed())
}

/// Shows the kind and the place only: a serde_json error may quote from the token.
#[derive(thiserror::Error)]
#[error("the header is not a JSON object with unique names ({:?}, line {}, column {})", .0.classify(), .0.line(), .0.column())]
struct HeaderError(serde_json::Error);

impl fmt::Debug for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The members of a header that count, unparsed.
#[derive(Default)]
struct RawHeader<'a> {
    algorithm: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    key_id: Option<Cow<'a, str>>,
    /// `crit` or `b64`.
    has_extensions: bool,
}

impl<'de> Deserialize<'de> for RawHeader<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// Far more than any header has. Bounds the comparison of names, which an attacker could make slow.
const MAX_MEMBERS: usize = 32;

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<RawHeader<'de>, A::Error> {
        let mut header = RawHeader::default();
        let mut seen: Vec<Cow<'de, str>> = Vec::with_capacity(4);
        while let Some(Text(name)) = members.next_key()? {
            if seen.contains(&name) {
                return Err(A::Error::custom("duplicate name"));
            }
            if seen.len() == MAX_MEMBERS {
                return Err(A::Error::custom("too many members"));
            }
            let mut text = || members.next_value().map(|Text(text)| Some(text));
            match &*name {
                "alg" => header.algorithm = text()?,
                "typ" => header.kind = text()?,
                "kid" => header.key_id = text()?,
                other => {
                    header.has_extensions |= matches!(other, "crit" | "b64");
                    members.next_value::<IgnoredAny>()?;
                }
            }
            seen.push(name);
        }
        Ok(header)
    }
}

/// A string that is copied only if it is escaped.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
