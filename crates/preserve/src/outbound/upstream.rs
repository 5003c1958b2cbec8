//! The upstream of a request.

use http::{
    Uri,
    uri::{Authority, Scheme},
};

use super::ConfigError;

/// A host, in lower case, with its port if it isn't the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Upstream {
    host: String,
    port: Option<u16>,
}

impl Upstream {
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        let invalid = || ConfigError::InvalidUpstream(without_user_information(text));
        let authority: Authority = text.parse().map_err(|_| invalid())?;
        // A `*` would look like a pattern, but there are no patterns.
        if text.contains(['@', '*']) || text.ends_with(':') {
            return Err(invalid());
        }
        let (host, port) = split(authority.as_str()).ok_or_else(invalid)?;
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    pub(super) fn is(&self, target: &Target<'_>) -> bool {
        let Some((host, port)) = target.host_and_port() else {
            return false;
        };
        let default = match target.scheme {
            Some(scheme) if *scheme == Scheme::HTTP => Some(80),
            Some(scheme) if *scheme == Scheme::HTTPS => Some(443),
            _ => None,
        };
        let port_fits = match self.port {
            // Neither has a port, so both have the same default.
            None => port.is_none() || port == default,
            Some(_) => self.port == port.or(default),
        };
        port_fits && self.host.eq_ignore_ascii_case(host)
    }
}

/// For an error that is shown: user information may hold a password.
fn without_user_information(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => text.to_owned(),
    }
}

/// Where a request goes.
pub(super) struct Target<'a> {
    scheme: Option<&'a Scheme>,
    authority: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// By its URI alone: a `Host` header may be the caller's, and doesn't tell where the connection
    /// goes.
    pub(super) fn of(uri: &'a Uri) -> Self {
        Self {
            scheme: uri.scheme(),
            authority: uri.authority().map(Authority::as_str),
        }
    }

    fn host_and_port(&self) -> Option<(&'a str, Option<u16>)> {
        split(self.authority?)
    }
}

/// Host and port of an authority, without its user information. `None` if the port is none.
fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let host_port = match authority.rsplit_once('@') {
        Some((_, host_port)) => host_port,
        None => authority,
    };
    // The colons of an IPv6 address stand in brackets.
    let after_address = host_port.find(']').map_or(0, |end| end + 1);
    let (host, port) = match host_port[after_address..].find(':') {
        Some(colon) => host_port.split_at(after_address + colon),
        None => (host_port, ""),
    };
    let port = match port.strip_prefix(':').unwrap_or_default() {
        "" => None,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(upstream: &str, uri: &str) -> bool {
        let upstream = Upstream::parse(upstream).unwrap();
        upstream.is(&Target::of(&uri.parse().unwrap()))
    }

    #[test]
    fn the_named_host_and_port_is_the_upstream() {
        for (upstream, uri) in [
            ("orders.internal", "http://orders.internal/a"),
            ("orders.internal", "https://Orders.INTERNAL/a"),
            ("ORDERS.internal", "http://orders.internal:80/"),
            ("orders.internal", "https://orders.internal:443/"),
            ("orders.internal", "http://orders.internal:/"),
            ("orders.internal:80", "http://orders.internal/"),
            ("orders.internal:443", "https://orders.internal/"),
            ("orders.internal:8080", "http://orders.internal:8080/"),
            ("orders.internal", "http://user:pw@orders.internal/"),
            ("[::1]:8080", "http://[::1]:8080/"),
            ("[::1]", "http://[::1]/"),
            ("127.0.0.1:3000", "http://127.0.0.1:3000/"),
        ] {
            assert!(is(upstream, uri), "{upstream} {uri}");
        }
    }

    #[test]
    fn another_host_or_port_is_another_upstream() {
        for (upstream, uri) in [
            ("orders.internal", "http://orders.internal:8080/"),
            ("orders.internal", "http://orders.internal:443/"),
            ("orders.internal", "https://orders.internal:80/"),
            ("orders.internal:443", "http://orders.internal/"),
            ("orders.internal:80", "https://orders.internal/"),
            ("orders.internal:8080", "http://orders.internal/"),
            ("orders.internal", "http://orders.internal.evil.example/"),
            ("orders.internal", "http://evil-orders.internal/"),
            ("orders.internal", "http://a.orders.internal/"),
            ("orders.internal", "http://orders.internal./"),
            ("orders.internal", "http://orders.internal@evil.example/"),
            ("orders.internal", "http://orders.internal:80@evil.example/"),
            ("orders.internal", "http://evil.example/orders.internal"),
            ("[::1]", "http://[::1]:8080/"),
            ("orders.internal", "/no-host"),
        ] {
            assert!(!is(upstream, uri), "{upstream} {uri}");
        }
    }

    #[test]
    fn an_invalid_host_is_rejected() {
        for text in [
            "",
            ":80",
            "host:",
            "host:99999",
            "host:port",
            "user@host",
            "http://host",
            "host/path",
            "a b",
            "*",
            "*.internal",
            "::1",
        ] {
            assert!(Upstream::parse(text).is_err(), "{text}");
        }
    }
}
