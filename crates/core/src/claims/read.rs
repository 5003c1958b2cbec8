//! A JSON object, read once from end to end, without a copy of its texts.

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// The members of an object, in which no name stands twice.
#[derive(Clone)]
pub(super) struct Members {
    all: Vec<(Text, Shape)>,
    /// Where the registered ones stand in it.
    registered: [Option<usize>; Name::COUNT],
}

/// The claims that are asked for by name.
#[derive(Clone, Copy, PartialEq, Eq)]
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
}

/// A text of the object.
#[derive(Clone)]
pub(super) enum Text {
    /// It stands in the JSON as it is.
    Within { start: usize, end: usize },
    /// There it is escaped.
    Own(Box<str>),
}

/// What is kept of a value.
#[derive(Clone)]
pub(super) enum Shape {
    Text(Text),
    /// A list of nothing but texts.
    Texts(Vec<Text>),
    /// Of a date; other numbers are [`Other`](Self::Other).
    Number(Number),
    Null,
    Other,
}

impl Name {
    const COUNT: usize = Self::Scp as usize + 1;

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "iss" => Self::Issuer,
            "sub" => Self::Subject,
            "client_id" => Self::ClientId,
            "azp" => Self::AuthorizedParty,
            "sid" => Self::Session,
            "jti" => Self::JwtId,
            "aud" => Self::Audience,
            "exp" => Self::ExpiresAt,
            "iat" => Self::IssuedAt,
            "nbf" => Self::NotBefore,
            "scope" => Self::Scope,
            "scp" => Self::Scp,
            _ => return None,
        })
    }

    fn is_date(self) -> bool {
        matches!(self, Self::ExpiresAt | Self::IssuedAt | Self::NotBefore)
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

    /// `json`: the one that it was read from.
    pub(super) fn of<'a>(&'a self, json: &'a str) -> &'a str {
        match self {
            Self::Within { start, end } => json.get(*start..*end).unwrap_or_default(),
            Self::Own(text) => text,
        }
    }
}

impl Members {
    /// Whatever stands in the object is well-formed: it can be read as a map of values.
    pub(super) fn read(json: &str) -> Result<Self, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let members = deserializer.deserialize_map(Object { json })?;
        deserializer.end()?;
        Ok(members)
    }

    pub(super) fn registered(&self, name: Name) -> Option<&Shape> {
        let at = self.registered[name as usize]?;
        self.all.get(at).map(|(_, shape)| shape)
    }

    pub(super) fn get(&self, json: &str, name: &str) -> Option<&Shape> {
        let mut all = self.all.iter();
        all.find_map(|(other, shape)| (other.of(json) == name).then_some(shape))
    }
}

/// More names than most tokens have. Up to here each is compared with all before it.
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
            registered: [None; Name::COUNT],
        };
        // All names, once they are many: nothing has been verified yet, so that nobody may make
        // this slow.
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
                return Err(A::Error::custom("a name stands twice"));
            }
            let registered = Name::of(name);
            let shape = match registered {
                // A number may come in forms that only its own type knows how to read.
                Some(name) if name.is_date() => match entries.next_value()? {
                    Value::Number(number) => Shape::Number(number),
                    _ => Shape::Other,
                },
                _ => entries.next_value_seed(ShapeOf { json })?,
            };
            if let Some(name) = registered {
                members.registered[name as usize] = Some(members.all.len());
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
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text::within(self.json, text))
    }
}

/// Reads as [`Value`] does, and refuses what it refuses, but keeps little.
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
        while entries.next_key_seed(self)?.is_some() {
            entries.next_value_seed(self)?;
        }
        Ok(Shape::Other)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// What can't be read as a map later must be refused now.
    fn is_refused_alike(text: &str) -> bool {
        let map = serde_json::from_str::<serde_json::Map<String, Value>>(text);
        Members::read(text).is_err() == map.is_err()
    }

    #[test]
    fn what_is_no_json_is_refused_as_by_a_map() {
        let deep = |depth| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        for text in [
            "",
            "{",
            "[]",
            "7",
            "null",
            "{}x",
            "{a:1}",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":1e999}",
            "{\"a\":-}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":{\"\\ud800\":1}}",
            "{\"a\":\"\\x\"}",
            "{\"a\":[\"\\ud800\"]}",
            "{\"a\":\"\n\"}",
            "{\"a\":[1,]}",
            "{\"a\":tru}",
            "{\"a\":{}}",
            "{\"\\ud800\":1}",
            "{\"exp\":1e999}",
            "{\"exp\":[[}",
            "{\"a\":{\"b\":1,\"b\":2}}",
        ] {
            assert!(is_refused_alike(text), "{text}");
        }
        for depth in 120..135 {
            assert!(is_refused_alike(&deep(depth)), "{depth}");
        }
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_however_it_is_written_and_however_many_there_are() {
        for count in [0, 5, FEW - 1, FEW, FEW + 1, 200] {
            let others: Vec<String> = (0..count).map(|at| format!("\"c{at}\":{at},")).collect();
            let others = others.concat();
            for twice in ["\"iss\":\"a\",\"iss\":\"a\"", "\"iss\":1,\"\\u0069ss\":2"] {
                assert!(Members::read(&format!("{{{others}{twice}}}")).is_err());
            }
            assert!(Members::read(&format!("{{{others}\"iss\":\"a\"}}")).is_ok());
            if count > 0 {
                assert!(Members::read(&format!("{{{others}\"c0\":0}}")).is_err());
            }
        }
    }

    proptest! {
        #[test]
        fn texts_are_found_where_they_stand(members in prop::collection::btree_map(".{0,4}", json(), 0..6)) {
            let object: serde_json::Map<_, _> = members.into_iter().collect();
            let json = Value::Object(object.clone()).to_string();
            let members = Members::read(&json).unwrap();
            prop_assert_eq!(members.all.len(), object.len());
            for (name, shape) in &members.all {
                let value = &object[name.of(&json)];
                match shape {
                    Shape::Text(text) => prop_assert_eq!(value.as_str(), Some(text.of(&json))),
                    Shape::Texts(texts) => {
                        let texts: Vec<_> = texts.iter().map(|text| text.of(&json)).collect();
                        prop_assert_eq!(value, &Value::from(texts));
                    }
                    Shape::Number(number) => prop_assert_eq!(value, &Value::from(number.clone())),
                    Shape::Null => prop_assert!(value.is_null()),
                    Shape::Other => prop_assert!(!value.is_string() && !value.is_null()),
                }
            }
        }

        #[test]
        fn broken_json_is_refused_as_by_a_map(object in json(), at: prop::sample::Index, with in "[ -~]") {
            let text = format!("{{\"a\":{object}}}");
            let at = at.index(text.chars().count());
            let broken: String = text
                .chars()
                .enumerate()
                .map(|(place, old)| if place == at { with.chars().next().unwrap_or(old) } else { old })
                .collect();
            let map = serde_json::from_str::<serde_json::Map<String, Value>>(&broken);
            // Only names of the outer object may not stand twice.
            if let (Err(_), Ok(map)) = (Members::read(&broken), map) {
                prop_assert!(broken.matches("\":").count() > map.len());
            } else {
                prop_assert!(is_refused_alike(&broken));
            }
        }
    }
}
