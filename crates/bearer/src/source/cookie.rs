//! The token in a cookie, if it came by no other way.

use super::{Candidate, ambiguous, read_token};
use http::{HeaderMap, header::COOKIE};

/// How many different cookies of the name may come: that of this host, and those that its parent
/// domains or other paths have set.
const MAX_CANDIDATES: usize = 3;

/// Reads the cookies of this name that differ, in their order. Over HTTP/2 there may be several
/// `Cookie` headers (RFC 9113 §8.2.3).
pub(super) fn read(headers: &HeaderMap, name: &str) -> Found {
    let mut values = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|header| header.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| value_of(pair.trim_ascii(), name));
    let Some(first) = values.next() else {
        return Found::None;
    };
    match values.next() {
        None => Found::One(read_token(first)),
        Some(second) => several(name, [first, second].into_iter().chain(values)),
    }
}

/// The cookies of the name.
#[derive(Debug)]
pub(super) enum Found {
    None,
    One(Candidate),
    /// Several that differ.
    Several(Vec<Candidate>),
}

#[cold]
fn several<'a>(name: &str, values: impl Iterator<Item = &'a [u8]>) -> Found {
    if is_of_one_host(name) {
        return Found::One(Err(ambiguous("a __Host- cookie came more than once")));
    }
    let mut different = Vec::with_capacity(MAX_CANDIDATES);
    for value in values {
        if different.contains(&value) {
            continue;
        }
        if different.len() == MAX_CANDIDATES {
            return Found::One(Err(ambiguous("the cookie came more than three times")));
        }
        different.push(value);
    }
    match different[..] {
        [value] => Found::One(read_token(value)),
        _ => Found::Several(different.into_iter().map(read_token).collect()),
    }
}

/// Browsers take a cookie with this prefix only from the host itself and for all paths, so that no
/// two can be there (RFC 6265bis §4.1.3.2).
fn is_of_one_host(name: &str) -> bool {
    let prefix = name.as_bytes().get(..7);
    prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"__Host-"))
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

    fn found(name: &str, cookies: &[&'static str]) -> Vec<Result<String, ()>> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_static(cookie));
        }
        let candidates = match read(&headers, name) {
            Found::None => vec![],
            Found::One(token) => vec![token],
            Found::Several(tokens) => {
                assert!(tokens.len() > 1);
                tokens
            }
        };
        let text = |token: Candidate| token.map(|token| token.as_str().to_owned());
        let texts = candidates
            .into_iter()
            .map(|token| text(token).map_err(drop));
        texts.collect()
    }

    fn ok(tokens: &[&str]) -> Vec<Result<String, ()>> {
        tokens.iter().map(|token| Ok((*token).to_owned())).collect()
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
            assert_eq!(found("token", cookies), ok(&["a.b"]), "{cookies:?}");
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
            &["token=\"\"; token="],
        ] {
            assert_eq!(found("token", cookies), ok(&[]), "{cookies:?}");
        }
    }

    #[test]
    fn invalid_tokens_are_malformed() {
        assert_eq!(found("token", &["token=a b"]), [Err(())]);
        let expected = [Err(()), Ok("b".to_owned())];
        assert_eq!(found("token", &["token=a b; token=b"]), expected);
    }

    #[test]
    fn trap_50_cookies_that_differ_are_candidates_in_their_order() {
        for cookies in [
            &["token=a; token=b"][..],
            &["token=a", "token=b"],
            &["x=1; token=\"a\"; y=2", "token=; token=b"],
            // RFC 6265 §4.1.1: the quotes are not part of the value.
            &["token=a; token=\"a\"", "token=b; token=a"],
        ] {
            assert_eq!(found("token", cookies), ok(&["a", "b"]), "{cookies:?}");
        }
        let three = &["token=c; token=a", "token=b; token=c"];
        assert_eq!(found("token", three), ok(&["c", "a", "b"]));
    }

    #[test]
    fn trap_50_equal_cookies_are_one() {
        for cookies in [&["token=a; token=a"][..], &["token=a", "token=\"a\""]] {
            assert_eq!(found("token", cookies), ok(&["a"]), "{cookies:?}");
        }
    }

    #[test]
    fn trap_50_more_than_three_are_rejected() {
        let four = &["token=a; token=b", "token=c; token=d"];
        assert_eq!(found("token", four), [Err(())]);
    }

    #[test]
    fn trap_50_a_host_cookie_can_not_be_doubled() {
        for (name, cookies) in [
            ("__Host-token", "__Host-token=a; __Host-token=b"),
            ("__Host-token", "__Host-token=a; __Host-token=a"),
            ("__host-token", "__host-token=a; __host-token=b"),
        ] {
            assert_eq!(found(name, &[cookies]), [Err(())], "{cookies}");
        }
        assert_eq!(found("__Host-token", &["__Host-token=a"]), ok(&["a"]));
        let secure = "__Secure-token=a; __Secure-token=b";
        assert_eq!(found("__Secure-token", &[secure]), ok(&["a", "b"]));
    }
}
