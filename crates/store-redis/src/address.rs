//! Where servers are and how we log in there, as Redis URLs say it.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::error::RedisStoreError;

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// `host:port` as servers write it in a redirection; IPv6 comes without brackets. An empty
    /// host is the one that was asked.
    pub(crate) fn redirected(text: &str, asked: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self::told(host, port.parse().ok()?, asked))
    }

    pub(crate) fn told(host: &str, port: u16, asked: &Self) -> Self {
        let host = if host.is_empty() { &asked.host } else { host };
        Self {
            host: host.to_owned(),
            port,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Who we are to a server.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What a Redis URL says: `redis[s]://[user][:password@]host[:port][/database]`.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    pub(crate) address: Address,
    pub(crate) login: Login,
    pub(crate) tls: bool,
    pub(crate) database: u32,
}

impl Location {
    pub(crate) fn server(url: &str) -> Result<Self, RedisStoreError> {
        Self::parse(url, PORT)
    }

    pub(crate) fn sentinel(url: &str) -> Result<Self, RedisStoreError> {
        Self::parse(url, SENTINEL_PORT)
    }

    /// Errors quote nothing: there may be a password in the URL.
    fn parse(url: &str, port: u16) -> Result<Self, RedisStoreError> {
        let wrong = RedisStoreError::Setting;
        let url = Url::parse(url)
            .map_err(|_| wrong("the address is not a URL such as redis://host:6379"))?;
        let tls = match url.scheme() {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err(wrong("the URL starts with neither redis:// nor rediss://")),
        };
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("a URL takes no parameters"));
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or(wrong("the URL names no host"))?;
        let database = match url.path().trim_start_matches('/') {
            "" => 0,
            number => number
                .parse()
                .map_err(|_| wrong("the URL's database is no number"))?,
        };
        let text = |encoded: &str| -> Result<_, RedisStoreError> {
            let decoded = percent_decode_str(encoded).decode_utf8();
            let Ok(decoded) = decoded else {
                return Err(wrong("the login of the URL is not UTF-8"));
            };
            Ok(Some(decoded.into_owned()).filter(|text| !text.is_empty()))
        };
        Ok(Self {
            address: Address {
                host: host.trim_matches(['[', ']']).to_owned(),
                port: url.port().unwrap_or(port),
            },
            login: Login {
                user: text(url.username())?,
                password: url.password().map(text).transpose()?.flatten(),
            },
            tls,
            database,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_can_hold_every_setting() {
        let location = Location::server("rediss://ann:p%40ss@db.example.com:7000/3").unwrap();
        assert_eq!(location.address.to_string(), "db.example.com:7000");
        assert_eq!(location.login.user.as_deref(), Some("ann"));
        assert_eq!(location.login.password.as_deref(), Some("p@ss"));
        assert!(location.tls);
        assert_eq!(location.database, 3);
    }

    #[test]
    fn parts_missing_from_a_url_have_defaults() {
        let location = Location::server("redis://:secret@[::1]").unwrap();
        assert_eq!(location.address.host, "::1");
        assert_eq!(location.address.port, 6379);
        assert_eq!(location.login.user, None);
        assert_eq!(location.login.password.as_deref(), Some("secret"));
        let sentinel = Location::sentinel("redis://localhost").unwrap();
        assert_eq!(sentinel.address.port, 26379);
    }

    #[test]
    fn a_wrong_url_is_rejected_without_quoting_it() {
        for url in [
            "secret",
            "http://:secret@localhost",
            "redis://:secret@localhost/one",
            "redis://:secret@localhost?protocol=resp3",
            "redis://:secret@localhost#insecure",
            "redis:///1?secret",
            "unix:///secret",
            "redis://:%ff@localhost/secret",
        ] {
            let error = Location::server(url).unwrap_err();
            assert!(matches!(error, RedisStoreError::Setting(_)), "{url}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{url}");
        }
    }

    #[test]
    fn a_login_shows_no_password() {
        let location = Location::server("redis://ann:secret@localhost").unwrap();
        assert!(!format!("{location:?}").contains("secret"));
    }

    #[test]
    fn a_redirection_names_a_server() {
        let asked = Address {
            host: "a".to_owned(),
            port: 1,
        };
        let to = |text| Address::redirected(text, &asked).map(|to| (to.host, to.port));
        assert_eq!(to("10.0.0.1:7000"), Some(("10.0.0.1".to_owned(), 7000)));
        assert_eq!(to("::1:7000"), Some(("::1".to_owned(), 7000)));
        assert_eq!(to(":7000"), Some(("a".to_owned(), 7000)));
        assert_eq!(to("nonsense"), None);
    }
}
