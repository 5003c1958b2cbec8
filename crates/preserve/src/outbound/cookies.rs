//! The `Cookie` headers without the cookies that hold a token.

use http::{HeaderMap, HeaderValue, header::COOKIE};

/// Removes the cookies of these names from all `Cookie` headers. The others stay byte for byte; a
/// header of which nothing is left is removed.
pub(super) fn remove<'a>(headers: &mut HeaderMap, names: &(impl Iterator<Item = &'a str> + Clone)) {
    let is_named = |pair: &[u8]| names.clone().any(|name| is_named(pair, name.as_bytes()));
    let has_any = |line: &HeaderValue| pairs(line.as_bytes()).any(is_named);
    if !headers.get_all(COOKIE).iter().any(has_any) {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for line in lines {
        let Some(mut rest) = without(&line, is_named) else {
            continue;
        };
        rest.set_sensitive(line.is_sensitive());
        headers.append(COOKIE, rest);
    }
}

fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';')
}

/// Spaces around the name belong to it nowhere (RFC 6265 §5.2).
fn is_named(pair: &[u8], name: &[u8]) -> bool {
    let rest = pair.trim_ascii_start().strip_prefix(name);
    rest.is_some_and(|rest| rest.trim_ascii_start().starts_with(b"="))
}

fn without(line: &HeaderValue, is_named: impl Fn(&[u8]) -> bool) -> Option<HeaderValue> {
    let bytes = line.as_bytes();
    if !pairs(bytes).any(&is_named) {
        return Some(line.clone());
    }
    let others: Vec<&[u8]> = pairs(bytes).filter(|pair| !is_named(pair)).collect();
    let rest = others.join(b";".as_slice());
    let is_empty = rest.iter().all(|byte| b"; \t".contains(byte));
    // Parts of a valid value are valid, too.
    let rest = (!is_empty).then(|| HeaderValue::from_bytes(rest.trim_ascii_start()));
    rest.and_then(Result::ok)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns these `Cookie` headers without `token` and `admin`.
    fn left(lines: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        remove(&mut headers, &["token", "admin"].into_iter());
        let lines = headers.get_all(COOKIE).iter();
        lines
            .map(|line| String::from_utf8(line.as_bytes().to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn trap_46_the_cookies_are_removed_in_any_position() {
        for (line, rest) in [
            ("token=t", ""),
            ("token=t;", ""),
            (" ; token=t ;; ", ""),
            ("token=t; token=u", ""),
            ("token=t; admin=u", ""),
            ("token=t; a=1", "a=1"),
            ("a=1; token=t", "a=1"),
            ("a=1; token=t; b=2", "a=1; b=2"),
            ("a=1;token=t;b=2", "a=1;b=2"),
            ("a=1; token=t; b=2; token=\"u\"; admin=v", "a=1; b=2"),
            ("a=1; token =t", "a=1"),
            ("a=1; \ttoken\t= t", "a=1"),
            ("a=1; token=", "a=1"),
        ] {
            let expected: &[&str] = if rest.is_empty() { &[] } else { &[rest] };
            assert_eq!(left(&[line]), expected, "{line}");
        }
    }

    #[test]
    fn trap_46_other_cookies_stay_as_they_are() {
        for line in [
            "a=1",
            "a=1;;  b=\u{e9}; c=\"x; y\"",
            "token2=a; Token=b; atoken=c; token",
            "a=token=t",
            " ",
            "",
        ] {
            assert_eq!(left(&[line]), [line]);
        }
    }

    #[test]
    fn trap_46_each_header_line_is_searched() {
        assert_eq!(left(&["a=1", "token=t", "b=2; admin=u"]), ["a=1", "b=2"]);
        assert!(left(&["token=t", "admin=u"]).is_empty());
    }

    proptest! {
        #[test]
        fn trap_46_all_others_stay_byte_for_byte(
            pairs in prop::collection::vec("(token|[a-s][a-z]{0,3})=[a-zA-Z0-9=%\" ]{0,6}", 1..8),
        ) {
            let others: Vec<&str> = pairs
                .iter()
                .map(String::as_str)
                .filter(|pair| !pair.starts_with("token="))
                .collect();
            let expected = (!others.is_empty()).then(|| others.join("; "));
            prop_assert_eq!(left(&[&pairs.join("; ")]), Vec::from_iter(expected));
        }
    }
}
