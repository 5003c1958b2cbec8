//! The headers that no caller may send to an upstream.

use http::{HeaderMap, HeaderName};

/// What an upstream believes of its proxy, which a caller must not say (RFC 9700 §4.13, RFC 9440
/// §4). `Proxy` would become the variable `HTTP_PROXY`, which clients in CGI programs obey.
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

/// Takes them off. `renamed`: the names into which credentials are renamed.
pub(super) fn remove(headers: &mut HeaderMap, renamed: &[HeaderName]) {
    remove_if(headers, |name| is_proxys(name, renamed));
}

fn is_proxys(name: &str, renamed: &[HeaderName]) -> bool {
    let begins = |prefix: &&str| name.starts_with(prefix);
    OF_PROXIES.contains(&name)
        || OF_PROXIES_BY_PREFIX.iter().any(begins)
        || renamed.iter().any(|known| name == known.as_str())
}

fn remove_if(headers: &mut HeaderMap, is_dropped: impl Fn(&str) -> bool) {
    // No allocation where there is nothing to remove.
    let names = headers.keys().filter(|name| is_dropped(name.as_str()));
    let names: Vec<HeaderName> = names.cloned().collect();
    for name in names {
        headers.remove(name);
    }
}
