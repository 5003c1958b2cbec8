//! What the `Connection` header names (RFC 9110 §7.6.1).

use http::{HeaderMap, HeaderName, header::CONNECTION};

/// Whether any `Connection` header names `field`. Lists may have spaces, tabs and empty members
/// (RFC 9110 §5.6.1); names are matched without regard to case.
pub(crate) fn names(headers: &HeaderMap, field: &HeaderName) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|option| {
            option
                .trim_ascii()
                .eq_ignore_ascii_case(field.as_str().as_bytes())
        })
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
