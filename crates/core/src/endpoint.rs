//! The URL of a server's endpoint.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use http::{Uri, uri::Scheme};

use crate::locality::Locality;

/// The URL of a server's endpoint: `https`, or plain `http` where it is on the loopback or allowed
/// by name.
///
/// # Examples
/// ```
/// use tower_revoke_core::{Endpoint, EndpointError};
///
/// assert!(Endpoint::new("https://id.example.com/revoke").is_ok());
/// assert!(Endpoint::new("http://127.0.0.1:8080/revoke").is_ok());
/// assert!(matches!(
///     Endpoint::new("http://id.example.com/revoke"),
///     Err(EndpointError::PlainHttp(_)),
/// ));
/// assert!(Endpoint::plain_http("http://id.internal/revoke").is_ok());
/// ```
///
/// `Debug` and the errors show neither a query nor user information, which may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Uri);

/// Why a URL can't be an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It is not an absolute `http` or `https` URL, has user information, or a host that clients
    /// parse differently (`0x7f.1`, `local%68ost`).
    #[error("`{0}` is not an http or https URL with an unambiguous host")]
    NotAUrl(String),
    /// Tokens and keys would be sent unencrypted.
    #[error("`{0}` is plain http; use https, or allow it with Endpoint::plain_http")]
    PlainHttp(String),
}

impl Endpoint {
    /// Parses an `https` URL, or an `http` one whose host is `localhost` or a loopback address.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn new(url: &str) -> Result<Self, EndpointError> {
        let endpoint = Self::plain_http(url)?;
        if endpoint.0.scheme() == Some(&Scheme::HTTPS) || endpoint.is_loopback() {
            Ok(endpoint)
        } else {
            Err(EndpointError::PlainHttp(shown(url)))
        }
    }

    /// Parses an `https` or `http` URL of any host: for a network that is trusted with tokens.
    ///
    /// # Errors
    /// [`EndpointError::NotAUrl`].
    pub fn plain_http(url: &str) -> Result<Self, EndpointError> {
        let not_a_url = || EndpointError::NotAUrl(shown(url));
        let uri: Uri = url.parse().map_err(|_| not_a_url())?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_user = uri
            .authority()
            .is_some_and(|host| host.as_str().contains('@'));
        if !is_http || has_user || !uri.host().is_some_and(is_unambiguous) {
            return Err(not_a_url());
        }
        Ok(Self(uri))
    }

    /// Returns the URL.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    pub(crate) fn locality(&self) -> Locality {
        Locality::of(self.0.host().unwrap_or_default())
    }

    fn is_loopback(&self) -> bool {
        let host = self.0.host().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || address
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

/// Returns a URL without what may be secret in it: user information and the query.
fn shown(url: &str) -> String {
    let (place, query) = match url.split_once(['?', '#']) {
        Some((place, _)) => (place, "?…"),
        None => (url, ""),
    };
    match place.rsplit_once('@') {
        Some((before, rest)) => {
            let scheme = before.split_once("//").map_or("", |(scheme, _)| scheme);
            format!("{scheme}//…@{rest}{query}")
        }
        None => format!("{place}{query}"),
    }
}

/// Whether every client connects to the host that is checked here. By the URL standard a client
/// decodes escapes, and parses a name whose last label is a number as an IPv4 address, in any
/// notation.
fn is_unambiguous(host: &str) -> bool {
    if let Some(host) = host.strip_prefix('[') {
        let address = host.strip_suffix(']').map(str::parse::<Ipv6Addr>);
        return matches!(address, Some(Ok(_)));
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let labels = host.strip_suffix('.').unwrap_or(host);
    let (_, last) = labels.rsplit_once('.').unwrap_or(("", labels));
    let is_number = match last.strip_prefix("0x").or(last.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    };
    host.bytes().all(is_name) && (!is_number || host.parse::<Ipv4Addr>().is_ok())
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0.to_string()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_the_loopback_or_by_name() {
        for url in [
            "https://id.example.com/",
            "https://id.example.com:8443/a?b=c",
            "http://localhost:8080/",
            "http://127.0.0.1/",
            "http://127.9.9.9/",
            "http://[::1]:80/",
        ] {
            assert!(Endpoint::new(url).is_ok(), "{url}");
        }
        for url in [
            "http://id.example.com/",
            "http://10.0.0.1/",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "http://[::2]/",
        ] {
            let error = Endpoint::new(url).unwrap_err();
            assert_eq!(error, EndpointError::PlainHttp(url.to_owned()));
            assert!(Endpoint::plain_http(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "/path",
            "ftp://a/",
            "id.example.com",
            "http://user@localhost/",
            "a b",
        ] {
            let error = Endpoint::new(url).unwrap_err();
            assert_eq!(error, EndpointError::NotAUrl(shown(url)));
        }
    }

    #[test]
    fn g8_what_may_be_secret_in_a_url_is_not_shown() {
        for url in [
            "https://orders:s3cret@id.example.com/revoke",
            "https://id.example.com@s3cret@id.example.com/",
            "orders:s3cret@id.example.com",
            "http://id.example.com/revoke?key=s3cret",
            "http://id.example.com/revoke?key=a@s3cret",
            "http://id.example.com/revoke#s3cret",
            "redis://id.example.com?key=s3cret",
        ] {
            let error = Endpoint::new(url).expect_err(url);
            for shown in [error.to_string(), format!("{error:?}")] {
                assert!(!shown.contains("s3") && !shown.contains("cret"), "{shown}");
                assert!(shown.contains("id.example.com"), "{shown}");
            }
        }
        let endpoint = Endpoint::new("https://id.example.com/revoke?key=s3cret").unwrap();
        assert_eq!(format!("{endpoint:?}"), "https://id.example.com/revoke?…");
        assert!(endpoint.to_string().ends_with("?key=s3cret"));
    }

    #[test]
    fn trap_52_an_ambiguous_host_is_rejected() {
        for host in [
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "127.1",
            "127.0.0.01",
            "0177.0.0.1",
            "127.0.0.1.",
            "a.0x",
            "a.7",
            "local%68ost",
            "127.0.0.%31",
            "a!b",
            "[::1",
            "[::1%25eth0]",
            ".",
        ] {
            for scheme in ["https", "http"] {
                let url = format!("{scheme}://{host}/");
                let read = Endpoint::plain_http(&url);
                assert_eq!(read, Err(EndpointError::NotAUrl(url)), "{host}");
            }
        }
        for host in [
            "1e100.net",
            "a.0xg",
            "7.a",
            "a_b.c",
            "10.0.0.1",
            "[fe80::1]",
            "a.",
        ] {
            assert!(Endpoint::new(&format!("https://{host}/")).is_ok(), "{host}");
        }
    }
}
