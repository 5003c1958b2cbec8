//! Reads JSON member by member, to find duplicate names, which a map would hide.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The members of an object, in order.
pub(crate) struct Members<T>(pub(crate) Vec<(String, T)>);

impl<T> Members<T> {
    pub(crate) fn has_twins(&self) -> bool {
        let Self(all) = self;
        (1..all.len()).any(|at| all[..at].iter().any(|(name, _)| *name == all[at].0))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = Members<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = map.next_entry()? {
                    all.push(member);
                }
                Ok(Members(all))
            }
        }

        deserializer.deserialize_map(Object(std::marker::PhantomData))
    }
}

/// Whether a value contains, at any depth, an object whose first name serde_json reserves.
/// Depending on its features, serde_json reads such an object as a number, or as JSON inside a
/// string.
pub(crate) struct IsPrivate(pub(crate) bool);

impl<'de> Deserialize<'de> for IsPrivate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = IsPrivate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<IsPrivate, A::Error> {
                let mut found = false;
                let mut is_first = true;
                while let Some(name) = map.next_key::<String>()? {
                    let IsPrivate(inner) = map.next_value()?;
                    let own = is_first && name.starts_with("$serde_json::private::");
                    found |= own || inner;
                    is_first = false;
                }
                Ok(IsPrivate(found))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<IsPrivate, A::Error> {
                let mut found = false;
                while let Some(IsPrivate(inner)) = items.next_element()? {
                    found |= inner;
                }
                Ok(IsPrivate(found))
            }

            fn visit_unit<E>(self) -> Result<IsPrivate, E> {
                Ok(IsPrivate(false))
            }

            fn visit_bool<E>(self, _: bool) -> Result<IsPrivate, E> {
                Ok(IsPrivate(false))
            }

            fn visit_u64<E>(self, _: u64) -> Result<IsPrivate, E> {
                Ok(IsPrivate(false))
            }

            fn visit_i64<E>(self, _: i64) -> Result<IsPrivate, E> {
                Ok(IsPrivate(false))
            }

            fn visit_f64<E>(self, _: f64) -> Result<IsPrivate, E> {
                Ok(IsPrivate(false))
            }

            fn visit_str<E>(self, _: &str) -> Result<IsPrivate, E> {
                Ok(IsPrivate(false))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// Returns the names of an object's members, or `None` for anything else.
pub(crate) fn names(json: &[u8]) -> Option<Members<IgnoredAny>> {
    serde_json::from_slice(json).ok()
}
