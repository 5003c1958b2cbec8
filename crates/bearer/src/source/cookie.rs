//! The token in a cookie, if it came by no other way.

use http::{HeaderMap, header::COOKIE};
use tower_revoke_core::{BearerToken, MalformedToken, Rejection};

use super::{Found, ambiguous};

/// Reads the cookie. Over HTTP/2 there may be several `Cookie` headers (RFC 9113 §8.2.3).
pub(super) fn read(headers: &HeaderMap, name: &str) -> Found {
    let mut values = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|header| header.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| value_of(pair.trim_ascii(), name));
    let value = values.next()?;
    if values.next().is_some() {
        return Some(Err(ambiguous("the cookie came more than once")));
    }
    let token = std::str::from_utf8(value).map_err(|_| MalformedToken::Characters);
    Some(token.and_then(BearerToken::new).map_err(Rejection::from))
}

/// The value without quotes (RFC 6265 §4.1.1), if it has any: an emptied cookie is no credential.
fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
    let unquoted = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""))
        .unwrap_or(value);
    (!unquoted.is_empty()).then_some(unquoted)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn found(cookies: &[&'static str]) -> Option<Result<String, ()>> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_static(cookie));
        }
        let found = read(&headers, "token");
        found.map(|found| found.map(|token| token.as_str().to_owned()).map_err(drop))
    }

    #[test]
    fn the_cookie_of_that_name_is_read() {
        for cookies in [
            &["token=a.b"][..],
            &["x=1; token=a.b; y=2"],
            &["x=1;token=\"a.b\""],
            &["x=1", "token=a.b"],
            &["token=; token=a.b"],
        ] {
            assert_eq!(found(cookies), Some(Ok("a.b".into())), "{cookies:?}");
        }
    }

    #[test]
    fn other_cookies_are_not() {
        for cookies in [
            &[][..],
            &["x=1"],
            &["token2=a"],
            &["Token=a"],
            &["token"],
            &["token="],
        ] {
            assert_eq!(found(cookies), None, "{cookies:?}");
        }
    }

    #[test]
    fn a_planted_second_cookie_is_refused() {
        for cookies in [
            &["token=a; token=b"][..],
            &["token=a", "token=b"],
            &["token=a b"],
        ] {
            assert_eq!(found(cookies), Some(Err(())), "{cookies:?}");
        }
    }
}
