//! The headers that no caller may send to an upstream.

use http::{HeaderMap, HeaderName};

use crate::names::{begins_as, reads_as};

/// What an upstream believes from its proxy, and so must not get from a caller (RFC 9700 §4.13,
/// RFC 9440 §4). `Proxy` would become the variable `HTTP_PROXY`, which clients in CGI programs obey.
const OF_PROXIES: [&str; 12] = [
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "proxy",
    "proxy-authorization",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-host",
    "x-http-host-override",
    "x-real-ip",
];

/// As [`OF_PROXIES`], by how they begin.
const OF_PROXIES_BY_PREFIX: [&str; 3] = ["x-forwarded-", "x-original-", "x-rewrite-"];

/// What a caller may send in its head, but not in trailers.
const OF_HEADS: [&str; 3] = ["authorization", "cookie", "host"];

/// Removes them from a head, with all names that servers read alike. `renamed` holds the names into
/// which credentials are renamed.
pub(super) fn remove(headers: &mut HeaderMap, renamed: &[HeaderName]) {
    remove_if(headers, |name| is_proxys(name, renamed));
}

/// Removes them from trailers. Some servers take those for headers, against RFC 9110 §6.5.1.
pub(super) fn remove_trailers(trailers: &mut HeaderMap, renamed: &[HeaderName]) {
    remove_if(trailers, |name| {
        OF_HEADS.contains(&name) || is_proxys(name, renamed)
    });
}

fn is_proxys(name: &str, renamed: &[HeaderName]) -> bool {
    OF_PROXIES.iter().any(|known| reads_as(name, known))
        || OF_PROXIES_BY_PREFIX
            .iter()
            .any(|prefix| begins_as(name, prefix))
        || renamed.iter().any(|known| reads_as(name, known.as_str()))
}

fn remove_if(headers: &mut HeaderMap, is_dropped: impl Fn(&str) -> bool) {
    // No allocation where there is nothing to remove.
    let names = headers.keys().filter(|name| is_dropped(name.as_str()));
    let names: Vec<HeaderName> = names.cloned().collect();
    for name in names {
        headers.remove(name);
    }
}
