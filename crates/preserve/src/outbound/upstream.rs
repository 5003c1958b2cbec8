//! The upstream of a request.

use http::{
    Uri,
    uri::{Authority, Scheme},
};

use super::ConfigError;

/// A host, in lower case, with its port if one is named.
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
        let (host, port) = split(&authority).ok_or_else(invalid)?;
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// Whether a request to `uri` goes to this upstream. A `Host` header may be the caller's, and
    /// doesn't tell where the connection goes.
    pub(super) fn is_target_of(&self, uri: &Uri) -> bool {
        let Some((host, port)) = uri.authority().and_then(split) else {
            return false;
        };
        let default = match uri.scheme() {
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

/// The host, and the port if there is one. `None` if the port is none, such as 65536.
fn split(authority: &Authority) -> Option<(&str, Option<u16>)> {
    let (text, host) = (authority.as_str(), authority.host());
    let host_port = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    let port = match host_port.strip_prefix(host)? {
        "" | ":" => None,
        _ => Some(authority.port_u16()?),
    };
    (!host.is_empty()).then_some((host, port))
}

/// For an error that is shown: user information may hold a password.
fn without_user_information(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(upstream: &str, uri: &str) -> bool {
        let upstream = Upstream::parse(upstream).unwrap();
        upstream.is_target_of(&uri.parse().unwrap())
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
