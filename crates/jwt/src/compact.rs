//! The compact form of a signed token (RFC 7515 §7.1), and JSON in which no name stands twice.

use std::{borrow::Cow, fmt};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{
    Deserialize,
    de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor},
};
use tower_revoke_core::{Claims, ClaimsError, Reason, Rejection};

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
            // A fourth part would make the payload one that can't be decoded.
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

    /// The claims, unverified.
    pub(crate) fn payload(&self) -> Result<Claims, Rejection> {
        let json = String::from_utf8(decode(self.payload)?).map_err(|_| malformed())?;
        Claims::from_json(json).map_err(|error| match error {
            // Whatever it is, it is no issuer that is trusted.
            ClaimsError::WrongType(name) if name == "iss" => Reason::WrongIssuer.into(),
            error => error.into(),
        })
    }

    pub(crate) fn signature(&self) -> Result<Vec<u8>, Rejection> {
        decode(self.signature)
    }
}

/// What a header says that is listened to. `jku`, `jwk`, `x5u` and `x5c` are not: a token never
/// brings its own key, nor says where to fetch one (RFC 8725 §3.10).
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    pub(crate) kind: Kind,
}

/// What kind of token it says it is (RFC 8725 §3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No `typ`, or one that says no more than that it is a token.
    Any,
    /// `at+jwt` (RFC 9068 §2.1).
    AccessToken,
    /// A kind that is no access token, such as `logout+jwt`.
    Other,
}

impl Header {
    fn read(json: &[u8]) -> Result<Self, Rejection> {
        // All of it (RFC 7515 §5.2): serde_json doesn't look into the values that it skips.
        let json = std::str::from_utf8(json).map_err(|_| malformed())?;
        let header: RawHeader<'_> = serde_json::from_str(json).map_err(unreadable)?;
        if header.has_extensions {
            return Err(
                malformed().detail("the token has header extensions that are not understood")
            );
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
    /// Media types are compared without regard to case, and `application/` may be left out
    /// (RFC 7515 §4.1.9).
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
    malformed().source(NoObject(error))
}

/// No padding, and no bits that carry nothing: else one signature had many spellings.
fn decode(part: &str) -> Result<Vec<u8>, Rejection> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed())
}

/// A serde_json error says where in the JSON it happened, and may quote from it: its kind alone is
/// shown.
#[derive(thiserror::Error)]
#[error("no JSON object with unique names ({:?}, line {}, column {})", .0.classify(), .0.line(), .0.column())]
struct NoObject(serde_json::Error);

impl fmt::Debug for NoObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The members of a header that are listened to, as they stand there.
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
                return Err(A::Error::custom(TWICE));
            }
            if seen.len() == MAX_MEMBERS {
                return Err(A::Error::custom("a header has too many members"));
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

/// A text that is only copied if it is escaped.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// Far more than any header has: names are compared with each other before anything is verified.
const MAX_MEMBERS: usize = 32;

const TWICE: &str = "a name stands twice";
