//! Issuers that differ in the name of a tenant only.

use std::fmt;

use tower_revoke_core::{BoxError, DiscoveryError, IssuerMetadata};

use super::IssuerResolver;
use crate::TrustedIssuer;

const PLACEHOLDER: &str = "{tenant}";

/// The longest label of a host name (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// The longest name of a tenant in a path.
const MAX_SEGMENT: usize = 255;

/// A URL of issuers that differ in the name of a tenant only, such as
/// `https://login.microsoftonline.com/{tenant}/v2.0`.
///
/// An issuer is one of them if it is byte by byte this URL, with a name in the place of `{tenant}`:
///
/// | `{tenant}` is | a name is |
/// |---|---|
/// | a whole segment of the path | letters, digits, `-`, `_` and `.` of ASCII, but not `.` or `..`; at most 255 |
/// | the first label of the host | lower-case letters, digits and `-` of ASCII, as in RFC 1123 §2.1; at most 63; no `xn--` |
///
/// So a trailing slash, upper case, a port, user information, an escape or another path is another issuer.
///
/// # Examples
/// Tokens of the customers' tenants at Entra ID:
///
/// ```
/// use std::collections::HashSet;
/// use tower_revoke_jwt::{IssuerTemplate, JwtVerifier};
/// # if cfg!(not(all(feature = "aws-lc-rs", feature = "https"))) { return Ok(()) }
///
/// let customers = HashSet::from(["8f3c2a6e-5d0b-4c9e-a1f7-2b6d4e8c0a13"]);
/// let tenants = IssuerTemplate::new("https://login.microsoftonline.com/{tenant}/v2.0")?
///     // Which tenants are trusted is for you to say: anybody can have one.
///     .resolver(move |tenant, issuer| {
///         customers.contains(tenant).then(|| issuer.audience("api://orders"))
///     });
/// let tokens = JwtVerifier::issuer_resolver(tenants)
///     .without_revocations() // or .revocations(list)
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerTemplate {
    before: String,
    after: String,
    place: Place,
}

/// Where the name of the tenant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Host,
    Path,
}

/// Why a template can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerTemplateError {
    /// `{tenant}` is not in the template exactly once.
    #[error("{{tenant}} must be in the template once")]
    Placeholder,
    /// `{tenant}` is part of a segment, or too much of the host.
    #[error(
        "{{tenant}} must be a segment of the path, or the first label of a host with two more labels"
    )]
    Place,
    /// The template is not the URL of issuers.
    #[error("the template is not the URL of issuers")]
    Url(#[source] DiscoveryError),
}

impl IssuerTemplate {
    /// Parses a template: an `https` URL, or one on the loopback, without a query, in which `{tenant}`
    /// is a segment of the path or the first label of the host.
    ///
    /// # Errors
    /// [`IssuerTemplateError`].
    pub fn new(template: &str) -> Result<Self, IssuerTemplateError> {
        let (before, after) = template
            .split_once(PLACEHOLDER)
            .filter(|(_, after)| !after.contains(PLACEHOLDER))
            .ok_or(IssuerTemplateError::Placeholder)?;
        IssuerMetadata::urls(&format!("{before}tenant{after}"))
            .map_err(IssuerTemplateError::Url)?;
        let rest = before.split_once("://").map_or("", |(_, rest)| rest);
        let place = match (rest, after.split_once('/')) {
            ("", host) => {
                let host = host.map_or(after, |(host, _)| host);
                let is_below_a_domain = host.strip_prefix('.').is_some_and(|it| it.contains('.'));
                is_below_a_domain.then_some(Place::Host)
            }
            (_, None | Some(("", _)))
                if rest.ends_with('/') && (after.is_empty() || after.starts_with('/')) =>
            {
                Some(Place::Path)
            }
            _ => None,
        };
        Ok(Self {
            before: before.to_owned(),
            after: after.to_owned(),
            place: place.ok_or(IssuerTemplateError::Place)?,
        })
    }

    /// Returns the tenant in `issuer`, or `None` if it is not one of these issuers.
    ///
    /// ```
    /// use tower_revoke_jwt::IssuerTemplate;
    ///
    /// let template = IssuerTemplate::new("https://id.example.com/{tenant}/v2.0")?;
    /// assert_eq!(template.tenant("https://id.example.com/acme/v2.0"), Some("acme"));
    /// assert_eq!(template.tenant("https://id.example.com/acme/v2.0/"), None);
    /// # Ok::<(), tower_revoke_jwt::IssuerTemplateError>(())
    /// ```
    pub fn tenant<'a>(&self, issuer: &'a str) -> Option<&'a str> {
        let tenant = issuer
            .strip_prefix(&*self.before)?
            .strip_suffix(&*self.after)?;
        let is_name = match self.place {
            Place::Host => is_label(tenant),
            Place::Path => is_segment(tenant),
        };
        is_name.then_some(tenant)
    }

    /// Returns a resolver that trusts the issuers for which `trust` returns one. It gets the name of
    /// the tenant, and the issuer, whose keys are found by its metadata and whose rules it has to set.
    ///
    /// `trust` is called for each token of an issuer that is not known to be trusted: it must be cheap.
    /// To ask a database, implement [`IssuerResolver`] with [`tenant`](Self::tenant) in its
    /// [`may_trust`](IssuerResolver::may_trust).
    pub fn resolver<F>(self, trust: F) -> TemplateResolver<F>
    where
        F: Fn(&str, TrustedIssuer) -> Option<TrustedIssuer> + Send + Sync + 'static,
    {
        TemplateResolver {
            template: self,
            trust,
        }
    }
}

fn is_label(name: &str) -> bool {
    let is_inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let has_hyphen_end = name.starts_with('-') || name.ends_with('-');
    // Two hyphens in this place are a name in another alphabet (RFC 5891 §4.2.3.1).
    let is_encoded = name.as_bytes().get(2..4) == Some(b"--");
    let is_long = name.is_empty() || name.len() > MAX_LABEL;
    !is_long && name.bytes().all(is_inner) && !has_hyphen_end && !is_encoded
}

fn is_segment(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_dots = matches!(name, "" | "." | "..");
    !is_dots && name.len() <= MAX_SEGMENT && name.bytes().all(is_inner)
}

/// The [`IssuerResolver`] of an [`IssuerTemplate`].
#[derive(Clone)]
pub struct TemplateResolver<F> {
    template: IssuerTemplate,
    trust: F,
}

impl<F> TemplateResolver<F>
where
    F: Fn(&str, TrustedIssuer) -> Option<TrustedIssuer>,
{
    fn trusted(&self, issuer: &str) -> Option<TrustedIssuer> {
        let tenant = self.template.tenant(issuer)?;
        (self.trust)(tenant, TrustedIssuer::new(issuer).discover())
    }
}

impl<F> IssuerResolver for TemplateResolver<F>
where
    F: Fn(&str, TrustedIssuer) -> Option<TrustedIssuer> + Send + Sync + 'static,
{
    fn may_trust(&self, issuer: &str) -> bool {
        self.trusted(issuer).is_some()
    }

    async fn resolve(&self, issuer: &str) -> Result<Option<TrustedIssuer>, BoxError> {
        Ok(self.trusted(issuer))
    }
}

impl<F> fmt::Debug for TemplateResolver<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TemplateResolver")
            .field(&self.template)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path() -> IssuerTemplate {
        IssuerTemplate::new("https://login.example.com/{tenant}/v2.0").unwrap()
    }

    fn host() -> IssuerTemplate {
        IssuerTemplate::new("https://{tenant}.id.example.com/").unwrap()
    }

    #[test]
    fn a_tenant_is_a_segment_of_the_path() {
        for tenant in [
            "acme",
            "8f3c2a6e-5d0b-4c9e-a1f7-2b6d4e8c0a13",
            "a.b",
            "A_1",
            "...",
        ] {
            let issuer = format!("https://login.example.com/{tenant}/v2.0");
            assert_eq!(path().tenant(&issuer), Some(tenant));
        }
    }

    #[test]
    fn a_look_alike_is_another_issuer() {
        for issuer in [
            "",
            "https://login.example.com//v2.0",
            "https://login.example.com/v2.0",
            "https://login.example.com/acme/v2.0/",
            "https://login.example.com/acme/v2.0 ",
            " https://login.example.com/acme/v2.0",
            "https://login.example.com/acme/v1.0",
            "https://login.example.com/acme/V2.0",
            "https://Login.example.com/acme/v2.0",
            "HTTPS://login.example.com/acme/v2.0",
            "http://login.example.com/acme/v2.0",
            "https://login.example.com./acme/v2.0",
            "https://login.example.com:443/acme/v2.0",
            "https://login.example.com@evil.example/acme/v2.0",
            "https://evil@login.example.com/acme/v2.0",
            "https://login.example.com.evil.example/acme/v2.0",
            "https://xn--lgin-5qa.example.com/acme/v2.0",
            "https://lоgin.example.com/acme/v2.0",
            "https://login.example.com\\@evil.example/acme/v2.0",
            "https://login.example.com/./v2.0",
            "https://login.example.com/../v2.0",
            "https://login.example.com/acme/../evil/v2.0",
            "https://login.example.com/acme/./v2.0",
            "https://login.example.com/acme//v2.0",
            "https://login.example.com/acme/x/v2.0",
            "https://login.example.com/%61cme/v2.0",
            "https://login.example.com/acme%2f..%2fevil/v2.0",
            "https://login.example.com/%2e%2e/v2.0",
            "https://login.example.com/acme\\evil/v2.0",
            "https://login.example.com/acme;x/v2.0",
            "https://login.example.com/acme?x=/v2.0",
            "https://login.example.com/acme#/v2.0",
            "https://login.example.com/acme\0/v2.0",
            "https://login.example.com/ac me/v2.0",
            "https://login.example.com/acmé/v2.0",
            "https://login.example.com/{tenant}/v2.0",
        ] {
            assert_eq!(path().tenant(issuer), None, "{issuer}");
        }
        let long = format!("https://login.example.com/{}/v2.0", "a".repeat(256));
        assert_eq!(path().tenant(&long), None);
    }

    #[test]
    fn a_tenant_is_a_label_of_the_host() {
        for (tenant, is_one) in [
            ("acme", true),
            ("a-1", true),
            ("7", true),
            ("", false),
            ("-a", false),
            ("a-", false),
            ("Acme", false),
            ("a.b", false),
            ("a_b", false),
            ("xn--acm-dma", false),
            ("evil.example/", false),
            ("evil.example#", false),
            ("evil.example?", false),
            ("user@evil", false),
            ("a:443", false),
            ("%61", false),
            (&"a".repeat(64), false),
        ] {
            let issuer = format!("https://{tenant}.id.example.com/");
            assert_eq!(host().tenant(&issuer), is_one.then_some(tenant), "{issuer}");
        }
        assert_eq!(host().tenant("https://acme.id.example.com"), None);
    }

    #[test]
    fn a_template_varies_in_the_tenant_only() {
        for template in [
            "https://login.example.com/{tenant}",
            "https://login.example.com/a/{tenant}/",
            "https://{tenant}.example.com",
            "http://127.0.0.1:8080/{tenant}/v2.0",
        ] {
            assert!(IssuerTemplate::new(template).is_ok(), "{template}");
        }
        for template in [
            "https://login.example.com/a-{tenant}",
            "https://login.example.com/{tenant}.v2",
            "https://login.example.com/{tenant}x/v2",
            "https://{tenant}.com",
            "https://{tenant}",
            "https://{tenant}/v2.0",
            "https://{tenant}:443/v2.0",
            "https://{tenant}example.com.com/",
            "https://id.{tenant}.example.com/",
            "https://id.example.{tenant}/",
            "https://id.example.com:{tenant}/",
        ] {
            let error = IssuerTemplate::new(template).unwrap_err();
            assert_eq!(error, IssuerTemplateError::Place, "{template}");
        }
        for template in [
            "https://id.example.com/",
            "https://{tenant}.example.com/{tenant}",
            "",
        ] {
            let error = IssuerTemplate::new(template).unwrap_err();
            assert_eq!(error, IssuerTemplateError::Placeholder, "{template}");
        }
        for template in [
            "http://id.example.com/{tenant}",
            "https://id.example.com/?a={tenant}",
            "https://id.example.com/#{tenant}",
            "https://{tenant}@id.example.com/",
            "{tenant}",
            "id.example.com/{tenant}",
        ] {
            let error = IssuerTemplate::new(template).unwrap_err();
            assert!(matches!(error, IssuerTemplateError::Url(_)), "{template}");
        }
    }

    proptest! {
        /// Whatever is found to be of the template has the URLs of its host.
        #[test]
        fn metadata_is_fetched_from_the_host_of_the_template(tenant in "[!-~]{0,12}") {
            let issuer = format!("https://login.example.com/{tenant}/v2.0");
            if path().tenant(&issuer).is_some() {
                let [openid, _] = IssuerMetadata::urls(&issuer).unwrap();
                prop_assert_eq!(openid.uri().host(), Some("login.example.com"));
                let expected = format!("/{tenant}/v2.0/.well-known/openid-configuration");
                prop_assert_eq!(openid.uri().path(), expected);
            }
            let issuer = format!("https://{tenant}.id.example.com/");
            if host().tenant(&issuer).is_some() {
                let [openid, _] = IssuerMetadata::urls(&issuer).unwrap();
                let expected = format!("{tenant}.id.example.com");
                prop_assert_eq!(openid.uri().host(), Some(&*expected));
            }
        }
    }
}
