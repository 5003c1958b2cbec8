//! Compares the reader with a map of values, on valid and malformed objects.

use proptest::prelude::*;
use serde_json::Value;

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

/// Input that can't be read as a map later must be rejected now.
fn is_rejected_alike(text: &str) -> bool {
    let map = serde_json::from_str::<serde_json::Map<String, Value>>(text);
    Members::read(text).is_err() == map.is_err()
}

#[test]
fn malformed_input_is_rejected_as_by_a_map() {
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
        assert!(is_rejected_alike(text), "{text}");
    }
    for depth in 120..135 {
        assert!(is_rejected_alike(&deep(depth)), "{depth}");
    }
}

#[test]
fn names_that_serde_json_reserves_are_rejected() {
    for value in [
        "{\"$serde_json::private::RawValue\":\"no\"}",
        "{\"$serde_json::private::RawValue\":\"[7]\"}",
        "[{\"b\":{\"\\u0024serde_json::private::RawValue\":\"7\"}}]",
        "{\"$serde_json::private::RawValue\":7}",
        "{\"$serde_json::private::Number\":\"no\"}",
        "{\"$serde_json::private::Number\":[]}",
    ] {
        for name in ["a", "exp"] {
            let text = format!("{{\"{name}\":{value}}}");
            assert!(Members::read(&text).is_err(), "{text}");
        }
    }
    assert!(Members::read("{\"$serde_json::private::RawValue\":\"no\"}").is_ok());
}

#[test]
fn duplicate_names_are_rejected_in_any_spelling_and_number() {
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
    fn texts_are_found_at_their_offsets(members in prop::collection::btree_map(".{0,4}", json(), 0..6)) {
        let json = Value::Object(members.into_iter().collect()).to_string();
        // A printed float may be read back as its neighbour.
        let object: serde_json::Map<_, _> = serde_json::from_str(&json).unwrap();
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
                Shape::Other => {
                    prop_assert!(value.is_boolean() || value.is_array() || value.is_object());
                }
            }
        }
    }

    #[test]
    fn malformed_json_is_rejected_as_by_a_map(object in json(), at: prop::sample::Index, with in "[ -~]") {
        let text = format!("{{\"a\":{object}}}");
        let at = at.index(text.chars().count());
        let broken: String = text
            .chars()
            .enumerate()
            .map(|(place, old)| if place == at { with.chars().next().unwrap_or(old) } else { old })
            .collect();
        let map = serde_json::from_str::<serde_json::Map<String, Value>>(&broken);
        // Only the names of the outer object must be unique.
        if let (Err(_), Ok(map)) = (Members::read(&broken), map) {
            prop_assert!(broken.matches("\":").count() > map.len());
        } else {
            prop_assert!(is_rejected_alike(&broken));
        }
    }
}
