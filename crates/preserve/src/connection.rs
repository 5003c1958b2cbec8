//! The options of the `Connection` header (RFC 9110 §7.6.1).

use http::{HeaderMap, HeaderName, HeaderValue, header::CONNECTION};
use tower_revoke_core::internal::list_members;

/// The options of all `Connection` headers.
pub(crate) fn options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    list_members(headers, &CONNECTION)
}

/// Whether any `Connection` header names `field`, without regard to case.
pub(crate) fn names(headers: &HeaderMap, field: &HeaderName) -> bool {
    options(headers).any(|option| option.eq_ignore_ascii_case(field.as_str().as_bytes()))
}

/// Whether `option` names a field that is meant for the upstream, and without which the message has
/// another meaning.
fn is_end_to_end(option: &[u8]) -> bool {
    const CONTENT: &[u8] = b"content-";
    let is = |name: &&str| option.eq_ignore_ascii_case(name.as_bytes());
    let prefix = option.get(..CONTENT.len()).unwrap_or_default();
    ["authorization", "cookie", "host"].iter().any(is) || prefix.eq_ignore_ascii_case(CONTENT)
}

/// Whether any `Connection` header names `Authorization`, `Cookie`, `Host` or `Content-…`.
pub(crate) fn names_end_to_end(headers: &HeaderMap) -> bool {
    options(headers).any(is_end_to_end)
}

/// Removes the fields that `Connection` names, and their names from it, so that no field is removed that
/// is added later. What [`HopByHopLayer`](crate::HopByHopLayer) looks for stays.
pub(crate) fn remove_named(headers: &mut HeaderMap) {
    const STAY: [&str; 7] = [
        "close",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    let stays = |option: &[u8]| {
        let is = |name: &&str| option.eq_ignore_ascii_case(name.as_bytes());
        STAY.iter().any(is)
    };
    for name in retain(headers, stays) {
        headers.remove(name);
    }
}

/// Removes the name of `field` from `Connection`, so that no hop removes the field.
pub(crate) fn unlist(headers: &mut HeaderMap, field: &HeaderName) {
    let field = field.as_str().as_bytes();
    retain(headers, |option| !option.eq_ignore_ascii_case(field));
}

/// Retains the options for which `stays` is true, and returns the names of the others.
fn retain(headers: &mut HeaderMap, stays: impl Fn(&[u8]) -> bool) -> Vec<HeaderName> {
    // No allocation where all stay, as in nearly all messages.
    if options(headers).all(&stays) {
        return Vec::new();
    }
    let (stay, go): (Vec<&[u8]>, Vec<&[u8]>) = options(headers).partition(|option| stays(option));
    let names = go.into_iter().map(HeaderName::from_bytes);
    let names = names.filter_map(Result::ok).collect();
    match HeaderValue::from_bytes(&stay.join(b", ".as_slice())) {
        Ok(stay) if !stay.is_empty() => drop(headers.insert(CONNECTION, stay)),
        _ => drop(headers.remove(CONNECTION)),
    }
    names
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::AUTHORIZATION};

    use super::*;

    fn named(values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONNECTION, HeaderValue::from_static(value));
        }
        names(&headers, &AUTHORIZATION)
    }

    #[test]
    fn rfc9110_7_6_1_options_are_a_case_insensitive_list() {
        for values in [
            &["authorization"][..],
            &["Authorization"],
            &["AUTHORIZATION"],
            &["close, authorization"],
            &["keep-alive,\tAuthorization ,close"],
            &[", ,authorization,"],
            &["close", "authorization"],
        ] {
            assert!(named(values), "{values:?}");
        }
        for values in [
            &[][..],
            &[""],
            &["close"],
            &["proxy-authorization"],
            &["authorization2, x-authorization"],
            &["close authorization"],
        ] {
            assert!(!named(values), "{values:?}");
        }
    }
}
