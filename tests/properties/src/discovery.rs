//! An issuer's metadata, and the URLs in it.

use serde_json::value::RawValue;
use tower_revoke_core::{Endpoint, IssuerMetadata};
use url::{Host, Url};

use crate::json::Members;

const ISSUER: &str = "https://id.example.com/shop";

/// A document is an object of the issuer that was asked, in which nothing that is read stands twice;
/// and the endpoints in it are where the client goes that is sent there.
pub(crate) fn discovery(input: &[u8]) {
    let Ok(metadata) = IssuerMetadata::parse(ISSUER, input) else {
        return;
    };
    // Members that nobody asks for may hold anything: an issuer is no stranger.
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let document: Members<Box<RawValue>> =
        serde_json::from_str(text).expect("only an object is metadata");
    let read = |name: &str| {
        let count = document.0.iter().filter(|(other, _)| other == name).count();
        assert!(count < 2, "{name} stands there twice");
        let value = document.get(name)?;
        serde_json::from_str::<String>(value.get()).ok()
    };
    assert_eq!(read("issuer").as_deref(), Some(ISSUER));
    let endpoints = [
        ("jwks_uri", metadata.jwks_uri()),
        ("revocation_endpoint", metadata.revocation_endpoint()),
    ];
    for (name, endpoint) in endpoints {
        let url = read(name);
        if let Ok(endpoint) = endpoint {
            assert_same_place(&endpoint, &url.expect("only a text is a URL"));
        }
    }
}

/// What `Endpoint` judged is what a client that follows the URL standard, as reqwest does, reads.
fn assert_same_place(endpoint: &Endpoint, url: &str) {
    // A client may reject it: then nothing is sent.
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

/// The address, if it is written as one in the usual form.
fn host_of(host: &str) -> Option<Host> {
    let within = host.trim_start_matches('[').trim_end_matches(']');
    let v6 = within.parse().map(Host::Ipv6);
    v6.or_else(|_| host.parse().map(Host::Ipv4)).ok()
}
