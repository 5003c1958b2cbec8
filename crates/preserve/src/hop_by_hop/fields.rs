//! The fields that belong to one connection, and those that replace them on the next.

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use tower_revoke_core::internal::list_members;

use crate::{connection, names};

/// Whether `name` can be named in `Via`: a host, a host with a port, or a token.
pub(super) fn is_pseudonym(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:[]".contains(&byte);
    !name.is_empty() && name.bytes().all(fits)
}

/// Adds the proxy to `Via`, with the version in which the message came (RFC 9110 §7.6.3).
pub(super) fn add_via(headers: &mut HeaderMap, name: &str, version: Version) {
    let version = match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    };
    let via = HeaderValue::try_from(format!("{version} {name}"));
    headers.append(header::VIA, via.expect("a pseudonym is visible ASCII"));
}

/// What is removed, whether or not `Connection` names it. Beside these, all that starts with
/// `Proxy-`.
const ONE_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Fields that frame a message or belong to a connection, and have names that servers read alike.
const TWINS: [&str; 4] = [
    "content-length",
    "http2-settings",
    "keep-alive",
    "transfer-encoding",
];

/// Removes what belongs to the connection that the message came by.
pub(super) fn remove(headers: &mut HeaderMap) {
    let is_twin = |name: &str, known: &str| name != known && names::reads_as(name, known);
    let is_dropped = |name: &&HeaderName| {
        let name = name.as_str();
        names::begins_as(name, "proxy-") || TWINS.iter().any(|known| is_twin(name, known))
    };
    let dropped: Vec<HeaderName> = headers.keys().filter(is_dropped).cloned().collect();
    let named: Vec<HeaderName> = connection::options(headers)
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .collect();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    for name in named.iter().chain(&dropped).chain(&ONE_HOP) {
        headers.remove(name);
    }
}

/// Whether the message asks for an upgrade to WebSocket or agrees to it (RFC 6455 §4): to that protocol
/// alone, named in `Connection`.
pub(super) fn is_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    let first = protocols.next().map(HeaderValue::as_bytes);
    first.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
        && protocols.next().is_none()
        && connection::names(headers, &header::UPGRADE)
}

/// Sets it again for the next connection.
pub(super) fn insert_websocket(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// Whether `TE` says that trailers are understood (RFC 9110 §10.1.4).
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    list_members(headers, &header::TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// Sets it again for the next connection.
pub(super) fn insert_te(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
}

/// One `Cookie` line of several (RFC 9113 §8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.len() < 2 {
        return;
    }
    if let Ok(mut joined) = HeaderValue::from_bytes(&lines.join(b"; ".as_slice())) {
        joined.set_sensitive(true);
        headers.insert(header::COOKIE, joined);
    }
}
