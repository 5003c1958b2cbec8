//! The token in a WebSocket subprotocol, where browsers can't set a header.

use http::{
    HeaderValue, Method, Request, Version,
    header::{SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use tower_revoke_core::internal::list_members;

use super::{Found, ambiguous, read_token};

/// Reads the subprotocol that starts with `prefix`, and removes it from those offered.
pub(super) fn take<B>(request: &mut Request<B>, prefix: &str) -> Found {
    if !asks_for_a_websocket(request) {
        return None;
    }
    let offered: Vec<&[u8]> = list_members(request.headers(), &SEC_WEBSOCKET_PROTOCOL).collect();
    let mut tokens = offered
        .iter()
        .filter_map(|protocol| protocol.strip_prefix(prefix.as_bytes()));
    let value = tokens.next()?;
    let token = match tokens.next() {
        Some(_) => Err(ambiguous("a token came in more than one subprotocol")),
        None => read_token(value),
    };
    let others: Vec<&[u8]> = offered
        .into_iter()
        .filter(|protocol| !protocol.starts_with(prefix.as_bytes()))
        .collect();
    let others = HeaderValue::from_bytes(&others.join(b", ".as_slice()));
    let headers = request.headers_mut();
    match others {
        Ok(others) if !others.is_empty() => {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, others);
        }
        _ => {
            headers.remove(SEC_WEBSOCKET_PROTOCOL);
        }
    }
    Some(token)
}

/// RFC 6455 §4.1; over HTTP/2 and later an extended CONNECT, which carries no `Upgrade`
/// (RFC 8441 §5).
fn asks_for_a_websocket<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    match *request.method() {
        Method::GET => list_members(headers, &UPGRADE)
            .any(|protocol| protocol.eq_ignore_ascii_case(b"websocket")),
        Method::CONNECT => {
            request.version() >= Version::HTTP_2 && headers.contains_key(SEC_WEBSOCKET_VERSION)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(lists: &[&str]) -> (Option<Result<String, ()>>, Option<String>) {
        let mut request = Request::get("/").header(UPGRADE, "WebSocket");
        for list in lists {
            request = request.header(SEC_WEBSOCKET_PROTOCOL, *list);
        }
        let mut request = request.body(()).unwrap();
        let found = take(&mut request, "bearer.");
        let token = found.map(|found| found.map(|token| token.as_str().to_owned()));
        let mut left = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let left_first = left.next().map(|list| list.to_str().unwrap().to_owned());
        assert!(left.next().is_none());
        (token.map(|token| token.map_err(drop)), left_first)
    }

    #[test]
    fn the_subprotocol_is_read_and_removed() {
        for (lists, token, left) in [
            (&["chat, bearer.a.b"][..], "a.b", Some("chat")),
            (&["bearer.a.b,chat ,v2"], "a.b", Some("chat, v2")),
            (&["chat", "bearer.a.b"], "a.b", Some("chat")),
            (&["bearer.a.b"], "a.b", None),
        ] {
            assert_eq!(taken(lists), (Some(Ok(token.into())), left.map(Into::into)));
        }
    }

    #[test]
    fn an_invalid_token_is_removed_too() {
        for (list, left) in [
            ("chat, bearer.", "chat"),
            ("bearer.a b, chat", "chat"),
            ("bearer.a, chat, bearer.b", "chat"),
        ] {
            assert_eq!(taken(&[list]), (Some(Err(())), Some(left.into())), "{list}");
        }
    }

    #[test]
    fn other_subprotocols_hold_no_token() {
        assert_eq!(
            taken(&["chat, Bearer.a"]),
            (None, Some("chat, Bearer.a".into()))
        );
        assert_eq!(taken(&[]), (None, None));
    }

    #[test]
    fn only_a_request_for_a_websocket_counts() {
        let request = |method, version, header| {
            Request::builder()
                .method(method)
                .version(version)
                .header(header, "websocket")
                .header(SEC_WEBSOCKET_PROTOCOL, "bearer.a")
                .body(())
                .unwrap()
        };
        for (method, version, header, expected) in [
            (Method::GET, Version::HTTP_11, UPGRADE, true),
            (Method::POST, Version::HTTP_11, UPGRADE, false),
            (Method::GET, Version::HTTP_11, SEC_WEBSOCKET_VERSION, false),
            (
                Method::CONNECT,
                Version::HTTP_2,
                SEC_WEBSOCKET_VERSION,
                true,
            ),
            (
                Method::CONNECT,
                Version::HTTP_11,
                SEC_WEBSOCKET_VERSION,
                false,
            ),
            (
                Method::CONNECT,
                Version::HTTP_3,
                SEC_WEBSOCKET_VERSION,
                true,
            ),
            (Method::CONNECT, Version::HTTP_2, UPGRADE, false),
        ] {
            let mut request = request(method, version, header);
            assert_eq!(take(&mut request, "bearer.").is_some(), expected);
        }
    }
}
