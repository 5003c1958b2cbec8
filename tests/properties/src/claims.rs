//! Property: the claims reader agrees with serde_json's map.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use tower_revoke_core::{Claims, UnixTime};

use crate::json::{IsPrivate, Members, names};

/// The claims that name a client.
const CLIENT: [&str; 4] = ["client_id", "azp", "cid", "appid"];

/// Input that is a map with unique names and well-typed claims is read, with the same content; all
/// other input is rejected.
pub(crate) fn claims(input: &[u8]) {
    let Ok(json) = std::str::from_utf8(input) else {
        return;
    };
    let expected = read(json);
    let claims = match (Claims::from_json(json.to_owned()), &expected) {
        (Err(_), None) => return,
        (Ok(claims), Some(_)) => claims,
        (Err(error), Some(_)) => panic!("{error} in a valid object"),
        (Ok(claims), None) => panic!("accepted as {claims:?}"),
    };
    let map = expected.expect("compared before");
    let text = |name: &str| map.get(name).and_then(Value::as_str);
    assert_eq!(claims.as_map(), &map);
    assert_eq!(claims.issuer(), text("iss"));
    assert_eq!(claims.subject(), text("sub"));
    let client = CLIENT.into_iter().find_map(text);
    assert_eq!(claims.client(), client);
    assert_eq!(claims.session(), text("sid"));
    assert_eq!(claims.grant(), text("grant_id"));
    assert_eq!(claims.jwt_id(), text("jti"));
    assert_eq!(
        claims.expires_at(),
        map.get("exp").and_then(|date| seconds(date, false))
    );
    assert_eq!(
        claims.issued_at(),
        map.get("iat").and_then(|date| seconds(date, false))
    );
    assert_eq!(
        claims.not_before(),
        map.get("nbf").and_then(|date| seconds(date, true))
    );
    for (name, value) in &map {
        assert_eq!(claims.get(name), Some(value));
        assert_eq!(claims.has(name), !value.is_null());
    }
    assert!(!claims.has("no such claim") || map.contains_key("no such claim"));
    for audience in words(map.get("aud"), false) {
        assert!(claims.has_audience(audience));
    }
    assert!(!claims.has_audience("nobody") || words(map.get("aud"), false).contains(&"nobody"));
    let scopes = words(map.get("scope").or(map.get("scp")), true);
    assert_eq!(claims.scopes().collect::<Vec<_>>(), scopes);
    assert_eq!(
        claims.parse::<Map<String, Value>>().ok().as_ref(),
        Some(&map)
    );
}

/// Returns the claims, if they are valid.
pub(crate) fn read(json: &str) -> Option<Map<String, Value>> {
    let map: Map<String, Value> = serde_json::from_str(json).ok()?;
    let Members(members) = serde_json::from_str::<Members<IsPrivate>>(json).ok()?;
    let is_private = members.iter().any(|(_, IsPrivate(is_private))| *is_private);
    if is_private || names(json.as_bytes())?.has_twins() {
        return None;
    }
    let strings = ["iss", "sub", "sid", "grant_id"];
    let are_strings =
        (strings.iter().chain(&CLIENT)).all(|name| map.get(*name).is_none_or(Value::is_string));
    let is_texts = |value: &Value| match value {
        Value::Array(items) => items.iter().all(Value::is_string),
        value => value.is_string(),
    };
    let are_dates = ["exp", "iat", "nbf"].iter().all(|name| {
        map.get(*name)
            .is_none_or(|date| seconds(date, false).is_some())
    });
    let are_texts = ["aud", "scope", "scp"]
        .iter()
        .all(|name| map.get(*name).is_none_or(is_texts));
    if !(are_strings && are_texts && are_dates) {
        return None;
    }
    let clients: BTreeSet<_> = CLIENT
        .iter()
        .filter_map(|name| map.get(*name)?.as_str())
        .collect();
    let scopes = |name| {
        Some(
            words(Some(map.get(name)?), true)
                .into_iter()
                .collect::<BTreeSet<_>>(),
        )
    };
    let scopes: BTreeSet<_> = ["scope", "scp"].into_iter().filter_map(scopes).collect();
    (clients.len() < 2 && scopes.len() < 2).then_some(map)
}

/// A `NumericDate` (RFC 7519 §2) that is not before 1970.
pub(crate) fn seconds(date: &Value, up: bool) -> Option<UnixTime> {
    let date = match (date.as_u64(), date.as_f64()?) {
        (Some(whole), _) => whole,
        (None, date) if date < 0.0 => return None,
        (None, date) if up => date.ceil() as u64,
        (None, date) => date.floor() as u64,
    };
    Some(UnixTime::from_secs(date))
}

/// Returns the strings of a claim that is one string or a list of them.
pub(crate) fn words(claim: Option<&Value>, split: bool) -> Vec<&str> {
    match claim {
        Some(Value::String(words)) if split => {
            words.split(' ').filter(|word| !word.is_empty()).collect()
        }
        Some(Value::String(word)) => vec![word],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
