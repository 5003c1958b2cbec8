//! An issuer's metadata: its URLs, and how it is parsed. No I/O.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::{Endpoint, EndpointError, HttpClientError, locality::Locality};

const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// The longest URL that is accepted in the metadata.
const MAX_URL: usize = 2_048;

/// The members of an issuer's metadata (OpenID Connect Discovery 1.0 §3, RFC 8414 §2) that are used
/// here.
///
/// # Examples
/// ```
/// use tower_revoke_core::IssuerMetadata;
///
/// let [openid, oauth] = IssuerMetadata::urls("https://id.example.com/shop")?;
/// assert_eq!(
///     openid.to_string(),
///     "https://id.example.com/shop/.well-known/openid-configuration",
/// );
/// assert_eq!(
///     oauth.to_string(),
///     "https://id.example.com/.well-known/oauth-authorization-server/shop",
/// );
///
/// let document = br#"{
///     "issuer": "https://id.example.com/shop",
///     "jwks_uri": "https://id.example.com/shop/keys"
/// }"#;
/// let metadata = IssuerMetadata::parse("https://id.example.com/shop", document)?;
/// assert_eq!(metadata.jwks_uri()?.uri().path(), "/shop/keys");
/// assert!(metadata.revocation_endpoint().is_err());
/// # Ok::<(), tower_revoke_core::DiscoveryError>(())
/// ```
///
/// # Local addresses
/// Whoever controls an issuer's metadata must not be able to make this program call its neighbours,
/// such as the metadata service of a cloud (server-side request forgery). So an endpoint on a
/// loopback, link-local or private address, or another one that is not globally reachable, is
/// rejected unless the issuer's own host is an address of the same kind. `localhost` and the names
/// below it count as loopback. An issuer on the loopback may name any address.
///
/// A host name can't be checked here: it may resolve to a local address, now or later. Where that
/// matters, use an [`HttpClient`](crate::HttpClient) that checks the addresses it connects to.
#[derive(Clone, Debug)]
pub struct IssuerMetadata {
    issuer: Locality,
    jwks_uri: Value,
    revocation_endpoint: Value,
    introspection_endpoint: Value,
}

/// Why an issuer's metadata can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The issuer is not a URL whose metadata could be fetched.
    #[error("the issuer is not a URL whose metadata could be fetched")]
    Issuer(#[source] EndpointError),
    /// The issuer has a query or a fragment, which RFC 8414 §2 forbids.
    #[error("the issuer has a query or a fragment")]
    IssuerParts,
    /// The document has more bytes than [`IssuerMetadata::MAX_BYTES`].
    #[error("the metadata is longer than {} bytes", IssuerMetadata::MAX_BYTES)]
    TooLarge,
    /// The document is not a JSON object with a string as `issuer`, or has a duplicate member.
    #[error("the metadata is not a JSON object with an issuer")]
    Unreadable,
    /// The document is another issuer's, which RFC 8414 §3.3 forbids to use.
    #[error("the metadata is that of another issuer, {0:?}")]
    OtherIssuer(
        /// The first 200 characters of its name.
        String,
    ),
    /// This member is missing.
    #[error("the metadata has no `{0}`")]
    Missing(&'static str),
    /// This member is not a string, or is too long for a URL.
    #[error("`{0}` of the metadata is not a URL")]
    NotAUrl(&'static str),
    /// This member is not the URL of an endpoint.
    #[error("`{member}` of the metadata can't be used")]
    Endpoint {
        /// The name of the member.
        member: &'static str,
        /// The cause.
        #[source]
        source: EndpointError,
    },
    /// This member is a local address, but the issuer is not one of its kind.
    #[error("`{member}` of the metadata is the local address `{url}`, but the issuer is not local")]
    Local {
        /// The name of the member.
        member: &'static str,
        /// The URL.
        url: String,
    },
}

/// Why an endpoint could not be found in an issuer's metadata.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataFetchError {
    /// There is no complete response, or it is too large, or a redirect.
    #[error("there is no usable response")]
    Http(#[source] HttpClientError),
    /// The status of the response is not 200.
    #[error("the status of the response is {0}, not 200")]
    Status(StatusCode),
    /// The metadata can't be used, or lacks the endpoint.
    #[error("the metadata can't be used")]
    Unusable(#[source] DiscoveryError),
}

impl IssuerMetadata {
    /// The longest document that is accepted.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Returns the URLs of an issuer's metadata, in the order in which to try them: OpenID Connect
    /// Discovery 1.0 §4 appends to the issuer's path, RFC 8414 §3 inserts before it.
    ///
    /// # Errors
    /// [`DiscoveryError::Issuer`] if the issuer is not an [`Endpoint`], which is `https` or on the
    /// loopback; [`DiscoveryError::IssuerParts`].
    pub fn urls(issuer: &str) -> Result<[Endpoint; 2], DiscoveryError> {
        if issuer.contains(['?', '#']) {
            return Err(DiscoveryError::IssuerParts);
        }
        let whole = Endpoint::new(issuer).map_err(DiscoveryError::Issuer)?;
        let uri = whole.uri();
        let path = uri.path().strip_suffix('/').unwrap_or(uri.path());
        let origin = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or("https"),
            uri.authority().map_or("", |authority| authority.as_str()),
        );
        let at = |url: String| Endpoint::new(&url).map_err(DiscoveryError::Issuer);
        Ok([
            at(format!("{origin}{path}{OPENID}"))?,
            at(format!("{origin}{OAUTH}{path}"))?,
        ])
    }

    /// Parses the document that was fetched for `issuer`. Its own `issuer` must be identical
    /// (RFC 8414 §3.3).
    ///
    /// # Errors
    /// [`DiscoveryError`]. An endpoint is checked when it is read.
    pub fn parse(issuer: &str, document: &[u8]) -> Result<Self, DiscoveryError> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
            #[serde(default)]
            jwks_uri: Value,
            #[serde(default)]
            revocation_endpoint: Value,
            #[serde(default)]
            introspection_endpoint: Value,
        }
        if document.len() > Self::MAX_BYTES {
            return Err(DiscoveryError::TooLarge);
        }
        // serde's derive accepts an array for a struct; metadata is an object (RFC 8414 §3.2).
        if document.trim_ascii_start().first() != Some(&b'{') {
            return Err(DiscoveryError::Unreadable);
        }
        let document: Document =
            serde_json::from_slice(document).map_err(|_| DiscoveryError::Unreadable)?;
        if document.issuer != issuer {
            let named = document.issuer.chars().take(200).collect();
            return Err(DiscoveryError::OtherIssuer(named));
        }
        // An issuer that is not a URL counts as remote.
        let locality = Endpoint::new(issuer).map_or(Locality::Global, |url| url.locality());
        Ok(Self {
            issuer: locality,
            jwks_uri: document.jwks_uri,
            revocation_endpoint: document.revocation_endpoint,
            introspection_endpoint: document.introspection_endpoint,
        })
    }

    /// Returns the URL of the issuer's keys.
    ///
    /// # Errors
    /// [`DiscoveryError::Missing`], [`NotAUrl`](DiscoveryError::NotAUrl),
    /// [`Endpoint`](DiscoveryError::Endpoint) or [`Local`](DiscoveryError::Local).
    pub fn jwks_uri(&self) -> Result<Endpoint, DiscoveryError> {
        self.endpoint("jwks_uri", &self.jwks_uri)
    }

    /// Returns the URL of the revocation endpoint (RFC 7009 §2).
    ///
    /// # Errors
    /// As [`jwks_uri`](Self::jwks_uri).
    pub fn revocation_endpoint(&self) -> Result<Endpoint, DiscoveryError> {
        self.endpoint("revocation_endpoint", &self.revocation_endpoint)
    }

    /// Returns the URL of the introspection endpoint (RFC 7662 §2).
    ///
    /// # Errors
    /// As [`jwks_uri`](Self::jwks_uri).
    pub fn introspection_endpoint(&self) -> Result<Endpoint, DiscoveryError> {
        self.endpoint("introspection_endpoint", &self.introspection_endpoint)
    }

    fn endpoint(&self, member: &'static str, value: &Value) -> Result<Endpoint, DiscoveryError> {
        let url = match value {
            Value::Null => return Err(DiscoveryError::Missing(member)),
            Value::String(url)
                if url.len() <= MAX_URL && url.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                url
            }
            _ => return Err(DiscoveryError::NotAUrl(member)),
        };
        let url =
            Endpoint::new(url).map_err(|source| DiscoveryError::Endpoint { member, source })?;
        match self.issuer.may_name(url.locality()) {
            true => Ok(url),
            false => Err(DiscoveryError::Local {
                member,
                url: url.to_string(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ISSUER: &str = "https://id.example.com/shop";

    fn parse(document: &str) -> Result<IssuerMetadata, DiscoveryError> {
        IssuerMetadata::parse(ISSUER, document.as_bytes())
    }

    fn urls(issuer: &str) -> [String; 2] {
        IssuerMetadata::urls(issuer)
            .unwrap()
            .map(|url| url.to_string())
    }

    #[test]
    fn rfc8414_3_1_the_well_known_part_precedes_the_path() {
        for (issuer, [openid, oauth]) in [
            (
                "https://example.com",
                [
                    "https://example.com/.well-known/openid-configuration",
                    "https://example.com/.well-known/oauth-authorization-server",
                ],
            ),
            (
                "https://example.com/",
                [
                    "https://example.com/.well-known/openid-configuration",
                    "https://example.com/.well-known/oauth-authorization-server",
                ],
            ),
            (
                "https://example.com:8443/realms/shop/",
                [
                    "https://example.com:8443/realms/shop/.well-known/openid-configuration",
                    "https://example.com:8443/.well-known/oauth-authorization-server/realms/shop",
                ],
            ),
            (
                "http://[::1]:80/a%2Fb",
                [
                    "http://[::1]:80/a%2Fb/.well-known/openid-configuration",
                    "http://[::1]:80/.well-known/oauth-authorization-server/a%2Fb",
                ],
            ),
        ] {
            assert_eq!(urls(issuer), [openid, oauth], "{issuer}");
        }
    }

    #[test]
    fn rfc8414_2_an_issuer_is_https_without_query_or_fragment() {
        for issuer in ["https://a.example/?b", "https://a.example/#b"] {
            let error = IssuerMetadata::urls(issuer).unwrap_err();
            assert_eq!(error, DiscoveryError::IssuerParts, "{issuer}");
        }
        for issuer in ["http://a.example", "ftp://a.example", "a.example", ""] {
            let error = IssuerMetadata::urls(issuer).unwrap_err();
            assert!(matches!(error, DiscoveryError::Issuer(_)), "{issuer}");
        }
    }

    #[test]
    fn rfc8414_3_3_the_issuer_must_be_the_requested_one() {
        for other in [
            "https://id.example.com/shop/",
            "https://id.example.com/Shop",
            "https://id.example.com:443/shop",
            "https://evil.example/shop",
            "",
        ] {
            let document = format!(r#"{{"issuer":"{other}"}}"#);
            let error = parse(&document).unwrap_err();
            assert_eq!(error, DiscoveryError::OtherIssuer(other.to_owned()));
        }
        let long = format!(r#"{{"issuer":"\u001b{}"}}"#, "a".repeat(60_000));
        let text = parse(&long).unwrap_err().to_string();
        assert!(text.len() < 300 && !text.contains('\u{1b}'), "{text}");
        assert!(parse(&format!(r#"{{"issuer":"{ISSUER}"}}"#)).is_ok());
    }

    #[test]
    fn rfc8414_3_2_invalid_metadata_is_rejected() {
        let twice = format!(r#"{{"issuer":"{ISSUER}","issuer":"{ISSUER}"}}"#);
        let array = format!(r#"["{ISSUER}"]"#);
        for document in [
            "",
            "null",
            "{}",
            "<html>",
            r#"{"issuer":1}"#,
            &twice,
            &array,
        ] {
            let error = parse(document).unwrap_err();
            assert_eq!(error, DiscoveryError::Unreadable, "{document}");
        }
        let long = format!(
            r#"{{"issuer":"{ISSUER}"{}}}"#,
            " ".repeat(IssuerMetadata::MAX_BYTES)
        );
        assert_eq!(parse(&long).unwrap_err(), DiscoveryError::TooLarge);
    }

    #[test]
    fn one_bad_endpoint_does_not_spoil_the_other() {
        let long = format!(r#""https://a.example/{}""#, "a".repeat(MAX_URL));
        for (value, fails) in [
            ("null", DiscoveryError::Missing("jwks_uri")),
            ("5", DiscoveryError::NotAUrl("jwks_uri")),
            ("[]", DiscoveryError::NotAUrl("jwks_uri")),
            (
                r#""https://a.example/\n""#,
                DiscoveryError::NotAUrl("jwks_uri"),
            ),
            (&long, DiscoveryError::NotAUrl("jwks_uri")),
            (
                r#""http://a.example/""#,
                DiscoveryError::Endpoint {
                    member: "jwks_uri",
                    source: EndpointError::PlainHttp("http://a.example/".into()),
                },
            ),
        ] {
            let metadata = parse(&format!(
                r#"{{"issuer":"{ISSUER}","jwks_uri":{value},
                    "revocation_endpoint":"https://id.example.com/revoke","more":[1,{{}}]}}"#
            ))
            .unwrap();
            assert_eq!(metadata.jwks_uri().unwrap_err(), fails, "{value}");
            let endpoint = metadata.revocation_endpoint().unwrap();
            assert_eq!(endpoint.to_string(), "https://id.example.com/revoke");
        }
    }

    /// Whether the metadata of `issuer` may name `url` as an endpoint.
    fn names(issuer: &str, url: &str) -> bool {
        let document =
            format!(r#"{{"issuer":"{issuer}","jwks_uri":"{url}","revocation_endpoint":"{url}"}}"#);
        let metadata = IssuerMetadata::parse(issuer, document.as_bytes()).unwrap();
        let found = metadata.jwks_uri().is_ok();
        assert_eq!(metadata.revocation_endpoint().is_ok(), found, "{url}");
        found
    }

    #[test]
    fn trap_52_a_remote_issuer_may_not_name_a_local_address() {
        let remote = "https://id.example.com";
        for host in [
            "localhost:8080",
            "LOCALHOST",
            "localhost.",
            "metadata.localhost",
            "127.0.0.1",
            "127.1.2.3:1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[0:0:0:0:0:ffff:7f00:1]",
            "0.0.0.0",
            "[::]",
            "169.254.169.254",
            "[fe80::1]",
            "[::ffff:a9fe:a9fe]",
            "10.1.2.3",
            "192.168.0.1",
            "[fd00:ec2::254]",
            // Other notations of 127.0.0.1 and 169.254.169.254.
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "127.1",
            "127.0.0.1.",
            "0xa9fea9fe",
            "local%68ost",
        ] {
            for scheme in ["http", "https"] {
                let url = format!("{scheme}://{host}/latest");
                assert!(!names(remote, &url), "{url}");
                // Neither may an issuer with a name that might be local but needs DNS to tell.
                assert!(!names("https://id.internal", &url), "{url}");
            }
        }
        assert!(names(remote, "https://keys.example.net/"));
        assert!(names(remote, "https://9.9.9.9/"));
        let error = IssuerMetadata::parse(
            remote,
            format!(r#"{{"issuer":"{remote}","jwks_uri":"http://127.0.0.1/"}}"#).as_bytes(),
        );
        let error = error.unwrap().jwks_uri().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`jwks_uri` of the metadata is the local address `http://127.0.0.1/`, but the issuer is not local"
        );
    }

    #[test]
    fn trap_52_a_local_issuer_may_name_local_addresses() {
        for (issuer, url, may) in [
            ("http://localhost:8080", "http://127.0.0.1:9090/keys", true),
            ("http://127.0.0.1", "http://localhost/keys", true),
            ("http://[::1]", "https://192.168.0.1/keys", true),
            ("https://10.0.0.1", "https://10.0.0.2/keys", true),
            ("https://10.0.0.1", "https://id.example.com/keys", true),
            ("https://10.0.0.1", "http://127.0.0.1/keys", false),
            ("https://10.0.0.1", "https://169.254.169.254/keys", false),
            ("https://[fe80::2]", "https://169.254.0.1/keys", true),
            ("https://0.0.0.0", "https://0.0.0.0/keys", false),
        ] {
            assert_eq!(names(issuer, url), may, "{issuer} names {url}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(issuer in ".{0,40}", document in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = IssuerMetadata::urls(&issuer);
            let _ = IssuerMetadata::parse(&issuer, &document);
        }
    }
}
