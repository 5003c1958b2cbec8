//! The token in the query parameter `access_token` (RFC 6750 §2.3).

use std::{borrow::Cow, mem};

use http::{HeaderValue, Response, Uri, header::CACHE_CONTROL, uri::PathAndQuery};
use percent_encoding::percent_decode_str;
use tower_revoke_core::internal::list_members;

use super::{Found, ambiguous, read_token};

/// Reads the parameter, and removes it from the URI. All others stay as they are.
pub(super) fn take(uri: &mut Uri) -> Found {
    let query = uri.query()?;
    let mut tokens = query.split('&').filter_map(token_value);
    let value = tokens.next()?;
    let token = match tokens.next() {
        Some(_) => Err(ambiguous("access_token came more than once")),
        None => read_token(&Cow::from(percent_decode_str(value))),
    };
    let others: Vec<&str> = query
        .split('&')
        .filter(|parameter| token_value(parameter).is_none())
        .collect();
    let rest = match others.is_empty() {
        true => uri.path().to_owned(),
        false => format!("{}?{}", uri.path(), others.join("&")),
    };
    *uri = with_path_and_query(mem::take(uri), &rest);
    Some(token)
}

/// The value, still encoded, if the decoded name of the parameter is `access_token`.
fn token_value(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    percent_decode_str(name)
        .eq(*b"access_token")
        .then_some(value)
}

fn with_path_and_query(uri: Uri, rest: &str) -> Uri {
    let mut parts = uri.into_parts();
    let rest = PathAndQuery::try_from(rest).expect("a query stays valid without a parameter");
    parts.path_and_query = Some(rest);
    Uri::from_parts(parts).expect("a URI stays valid with another query")
}

/// Adds `Cache-Control: private` to a successful response to a token in the query (RFC 6750 §2.3).
/// `no-store` is stricter and stays, `public` contradicts it and is removed.
pub(crate) fn keep_private<B>(response: &mut Response<B>) {
    if !response.status().is_success() {
        return;
    }
    let directives: Vec<&[u8]> = list_members(response.headers(), &CACHE_CONTROL).collect();
    let says = |name: &[u8]| {
        directives
            .iter()
            .any(|other| other.eq_ignore_ascii_case(name))
    };
    if says(b"no-store") || says(b"private") {
        return;
    }
    let others = directives
        .iter()
        .filter(|directive| !directive.eq_ignore_ascii_case(b"public"));
    let mut value = b"private".to_vec();
    for directive in others {
        value.extend_from_slice(b", ");
        value.extend_from_slice(directive);
    }
    let value = HeaderValue::from_bytes(&value).unwrap_or(HeaderValue::from_static("private"));
    response.headers_mut().insert(CACHE_CONTROL, value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(uri: &str) -> (Option<Result<String, ()>>, String) {
        let mut uri: Uri = uri.parse().unwrap();
        let found = take(&mut uri);
        let token = found.map(|found| found.map(|token| token.as_str().to_owned()));
        (token.map(|token| token.map_err(drop)), uri.to_string())
    }

    #[test]
    fn the_parameter_is_read_and_removed() {
        for (uri, token, rest) in [
            ("/a?access_token=t", "t", "/a"),
            ("/a?access_token=t&b=1&&c", "t", "/a?b=1&&c"),
            ("/a?b=%20+&access_token=t", "t", "/a?b=%20+"),
            ("/a?%61ccess_toke%6E=t&b", "t", "/a?b"),
            ("/?access_token=a%2Bb%3D%3d", "a+b==", "/"),
            ("/?access_token=a+b", "a+b", "/"),
            ("/?access_token=a==&b==", "a==", "/?b=="),
            (
                "https://u@api.example.com:8443?access_token=t",
                "t",
                "https://u@api.example.com:8443/",
            ),
        ] {
            assert_eq!(taken(uri), (Some(Ok(token.into())), rest.into()), "{uri}");
        }
    }

    #[test]
    fn an_invalid_token_is_removed_too() {
        for (uri, rest) in [
            ("/?access_token", "/"),
            ("/?access_token=", "/"),
            ("/?access_token=a%20b&x=1", "/?x=1"),
            ("/?access_token=%ff", "/"),
            ("/?access_token=a&x=1&access_token=a", "/?x=1"),
            ("/?access_token=a&access%5Ftoken=b", "/"),
        ] {
            assert_eq!(taken(uri), (Some(Err(())), rest.into()), "{uri}");
        }
    }

    #[test]
    fn other_parameters_hold_no_token() {
        for uri in ["/", "/?", "/?Access_Token=a", "/?access_token2=a", "*"] {
            assert_eq!(taken(uri), (None, uri.into()), "{uri}");
        }
    }

    proptest! {
        #[test]
        fn all_other_parameters_stay_byte_for_byte(
            before in prop::collection::vec("[a-z0-9%=+;:@/?!$'()*,~._-]{0,12}", 0..5),
            token in "[A-Za-z0-9._~/-]{1,40}",
            after in prop::collection::vec("[a-z0-9%=+;:@/?!$'()*,~._-]{0,12}", 0..5),
            encoded: bool,
        ) {
            let secret = format!("Secret{token}");
            let written = match encoded {
                true => secret.bytes().map(|byte| format!("%{byte:02X}")).collect(),
                false => secret.clone(),
            };
            let parameter = format!("access_token={written}");
            let others: Vec<&str> = before.iter().chain(&after).map(String::as_str).collect();
            let all: Vec<&str> = before
                .iter()
                .map(String::as_str)
                .chain([parameter.as_str()])
                .chain(after.iter().map(String::as_str))
                .collect();
            let uri = format!("/path?{}", all.join("&"));
            let expected = match others.is_empty() {
                true => "/path".to_owned(),
                false => format!("/path?{}", others.join("&")),
            };
            let (found, rest) = taken(&uri);
            prop_assert_eq!(found, Some(Ok(secret)));
            prop_assert_eq!(&rest, &expected);
            prop_assert!(!rest.contains("Secret") && !rest.contains(&written));
        }

        #[test]
        fn nothing_panics(query in "[ -~]{0,60}") {
            if let Ok(mut uri) = format!("/p?{query}").parse::<Uri>() {
                let _ = take(&mut uri);
            }
        }
    }
}
