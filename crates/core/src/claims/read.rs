//! Parses a JSON object once, without copying its strings. Beside a `serde_json::Map` this saves a tenth
//! of the time of a new HS256 token's check, mostly in allocations.

use std::{collections::HashSet, fmt, iter};

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor,
    value::MapDeserializer,
};
use serde_json::Number;

/// The members of an object with unique names.
#[derive(Clone)]
pub(super) struct Members {
    all: Vec<(Text, Shape)>,
    /// The indices of the registered ones.
    registered: [Option<usize>; Name::WRITTEN.len()],
}

/// The claims that are used by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Issuer,
    Subject,
    ClientId,
    AuthorizedParty,
    Session,
    JwtId,
    Audience,
    ExpiresAt,
    IssuedAt,
    NotBefore,
    Scope,
    Scp,
    Cid,
    AppId,
    Grant,
}

/// A string of the object.
#[derive(Clone)]
pub(super) enum Text {
    /// A range of the JSON.
    Within { start: usize, end: usize },
    /// A copy, since it is escaped in the JSON.
    Own(Box<str>),
}

/// What is kept of a value.
#[derive(Clone)]
pub(super) enum Shape {
    Text(Text),
    /// An array of strings only.
    Texts(Vec<Text>),
    Number(Number),
    Null,
    Other,
}

impl Name {
    pub(super) const ALL: [Self; 15] = [
        Self::Issuer,
        Self::Subject,
        Self::ClientId,
        Self::AuthorizedParty,
        Self::Session,
        Self::JwtId,
        Self::Audience,
        Self::ExpiresAt,
        Self::IssuedAt,
        Self::NotBefore,
        Self::Scope,
        Self::Scp,
        Self::Cid,
        Self::AppId,
        Self::Grant,
    ];

    /// As they are written, in the order of the variants.
    const WRITTEN: [&str; Self::ALL.len()] = [
        "iss",
        "sub",
        "client_id",
        "azp",
        "sid",
        "jti",
        "aud",
        "exp",
        "iat",
        "nbf",
        "scope",
        "scp",
        "cid",
        "appid",
        "grant_id",
    ];

    pub(super) fn written(self) -> &'static str {
        Self::WRITTEN[self as usize]
    }
}

impl Text {
    /// `text` may be a part of `json`.
    fn within(json: &str, text: &str) -> Self {
        let start = (text.as_ptr() as usize).wrapping_sub(json.as_ptr() as usize);
        let end = start.wrapping_add(text.len());
        match json.get(start..end) {
            Some(part) if part == text => Self::Within { start, end },
            _ => Self::Own(text.into()),
        }
    }

    /// `json` must be the one that it was parsed from.
    pub(super) fn of<'a>(&'a self, json: &'a str) -> &'a str {
        match self {
            Self::Within { start, end } => json.get(*start..*end).unwrap_or_default(),
            Self::Own(text) => text,
        }
    }
}

impl Members {
    /// Rejects all that can't be parsed as a map of values.
    pub(super) fn read(json: &str) -> Result<Self, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let members = deserializer.deserialize_map(Object { json })?;
        deserializer.end()?;
        Ok(members)
    }

    pub(super) fn registered(&self, name: Name) -> Option<&Shape> {
        self.at(self.registered_at(name)?)
    }

    pub(super) fn registered_at(&self, name: Name) -> Option<usize> {
        self.registered[name as usize]
    }

    pub(super) fn at(&self, at: usize) -> Option<&Shape> {
        self.all.get(at).map(|(_, shape)| shape)
    }

    pub(super) fn name<'a>(&'a self, at: usize, json: &'a str) -> &'a str {
        self.all.get(at).map_or("", |(name, _)| name.of(json))
    }

    pub(super) fn position(&self, json: &str, name: &str) -> Option<usize> {
        self.all
            .iter()
            .position(|(other, _)| other.of(json) == name)
    }

    pub(super) fn get(&self, json: &str, name: &str) -> Option<&Shape> {
        self.at(self.position(json, name)?)
    }
}

/// More names than most tokens have. Up to this number each is compared with all before it.
const FEW: usize = 32;

struct Object<'a> {
    json: &'a str,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Members, A::Error> {
        let json = self.json;
        let mut members = Members {
            all: Vec::with_capacity(16),
            registered: [None; Name::WRITTEN.len()],
        };
        // All names, once they are many: the token is not verified yet, and must not make this slow.
        let mut many: HashSet<Box<str>> = HashSet::new();
        while let Some(text) = entries.next_key_seed(TextOf { json })? {
            let name = text.of(json);
            let is_new = match members.all.len() {
                0..FEW => members.get(json, name).is_none(),
                _ => {
                    if many.is_empty() {
                        many.extend(members.all.iter().map(|(name, _)| name.of(json).into()));
                    }
                    many.insert(name.into())
                }
            };
            if !is_new {
                return Err(A::Error::custom("duplicate name"));
            }
            let registered = Name::WRITTEN.iter().position(|written| *written == name);
            let shape = entries.next_value_seed(ShapeOf { json })?;
            if let Some(index) = registered {
                members.registered[index] = Some(members.all.len());
            }
            members.all.push((text, shape));
        }
        Ok(members)
    }
}

struct TextOf<'a> {
    json: &'a str,
}

impl<'de> DeserializeSeed<'de> for TextOf<'_> {
    type Value = Text;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for TextOf<'_> {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text::within(self.json, text))
    }
}

/// The prefix of the names with which serde_json marks numbers of arbitrary precision and raw JSON in
/// an object, if any crate of the program enables these features.
const PRIVATE: &str = "$serde_json::private::";

/// Parses what a [`Value`](serde_json::Value) parses, and rejects what it rejects, but keeps little.
#[derive(Clone, Copy)]
struct ShapeOf<'a> {
    json: &'a str,
}

impl<'de> DeserializeSeed<'de> for ShapeOf<'_> {
    type Value = Shape;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ShapeOf<'_> {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Shape, E> {
        Ok(Shape::Text(Text::within(self.json, text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut texts = Some(Vec::new());
        while let Some(item) = items.next_element_seed(self)? {
            match (&mut texts, item) {
                (Some(texts), Shape::Text(text)) => texts.push(text),
                _ => texts = None,
            }
        }
        Ok(texts.map_or(Shape::Other, Shape::Texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Shape, A::Error> {
        let Self { json } = self;
        let mut is_first = true;
        while let Some(name) = entries.next_key_seed(TextOf { json })? {
            let value = entries.next_value_seed(self)?;
            if is_first && name.of(json).starts_with(PRIVATE) {
                // A number of arbitrary precision is accepted. Raw JSON is rejected: a `Value` would
                // parse the JSON within the string, which was not checked here.
                let text = match &value {
                    Shape::Text(text) => text.of(json),
                    _ => "",
                };
                let number = MapDeserializer::new(iter::once((name.of(json), text)));
                return Number::deserialize(number).map(Shape::Number);
            }
            is_first = false;
        }
        Ok(Shape::Other)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Shape, E> {
        Ok(Shape::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Shape, E> {
        Ok(Shape::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Shape, E> {
        Ok(Number::from_f64(number).map_or(Shape::Other, Shape::Number))
    }
}

#[cfg(test)]
mod tests;
