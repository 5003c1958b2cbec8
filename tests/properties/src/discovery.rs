//! Properties of an issuer's metadata, and of the URLs in it.

use serde_json::value::RawValue;
use tower_revoke_core::{Endpoint, IssuerMetadata};
use url::{Host, Url};

use crate::json::Members;

const ISSUER: &str = "https://id.example.com/shop";

/// A document is an object of the requested issuer in which no relevant member occurs twice, and a
/// client that is given one of its endpoints connects to that endpoint's host.
pub(crate) fn discovery(input: &[u8]) {
    let Ok(metadata) = IssuerMetadata::parse(ISSUER, input) else {
        return;
    };
    // Other members may hold anything, because the issuer is trusted.
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let document: Members<Box<RawValue>> =
        serde_json::from_str(text).expect("metadata is an object");
    let read = |name: &str| {
        let count = document.0.iter().filter(|(other, _)| other == name).count();
        assert!(count < 2, "{name} occurs twice");
        let value = document.get(name)?;
        serde_json::from_str::<String>(value.get()).ok()
    };
    assert_eq!(read("issuer").as_deref(), Some(ISSUER));
    let endpoints = [
        ("jwks_uri", metadata.jwks_uri()),
        ("revocation_endpoint", metadata.revocation_endpoint()),
        ("introspection_endpoint", metadata.introspection_endpoint()),
    ];
    for (name, endpoint) in endpoints {
        let url = read(name);
        if let Ok(endpoint) = endpoint {
            assert_same_place(&endpoint, &url.expect("a URL is a string"));
        }
    }
}

/// Checks that a client that follows the URL standard, such as reqwest, reads the URL as `Endpoint`
/// does.
fn assert_same_place(endpoint: &Endpoint, url: &str) {
    // A client may reject the URL; then nothing is sent.
    let Ok(url) = Url::parse(url) else { return };
    let uri = endpoint.uri();
    assert_eq!(uri.scheme_str(), Some(url.scheme()));
    assert_eq!(url.username(), "");
    assert_eq!(url.password(), None);
    let read = uri.host().expect("an endpoint has a host");
    let host = url.host().expect("an http URL has a host");
    assert!(
        host.to_string().eq_ignore_ascii_case(read)
            || host_of(read).as_ref() == Some(&host.to_owned()),
        "{read} is read as {host}"
    );
    let default = if url.scheme() == "https" { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(default);
    assert_eq!(url.port_or_known_default(), Some(port));
    if url.scheme() == "http" {
        let is_loopback = match host {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        assert!(is_loopback, "plain http to {host}");
    }
}

/// Returns the address, if it is written in the usual form.
fn host_of(host: &str) -> Option<Host> {
    let within = host.trim_start_matches('[').trim_end_matches(']');
    let v6 = within.parse().map(Host::Ipv6);
    v6.or_else(|_| host.parse().map(Host::Ipv4)).ok()
}
