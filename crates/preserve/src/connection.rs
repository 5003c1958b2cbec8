//! What the `Connection` header names (RFC 9110 §7.6.1).

use http::{HeaderMap, HeaderName, header::CONNECTION};

/// The members of a list in any of the header's lines. It may have spaces, tabs and empty members
/// (RFC 9110 §5.6.1).
pub(crate) fn list<'a>(
    headers: &'a HeaderMap,
    field: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(field)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// What the `Connection` headers name.
pub(crate) fn options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    list(headers, &CONNECTION)
}

/// Whether any `Connection` header names `field`, without regard to case.
pub(crate) fn names(headers: &HeaderMap, field: &HeaderName) -> bool {
    options(headers).any(|option| option.eq_ignore_ascii_case(field.as_str().as_bytes()))
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
    fn rfc9110_7_6_1_options_are_a_list_without_regard_to_case() {
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
