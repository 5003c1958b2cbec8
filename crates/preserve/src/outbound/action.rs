//! The credentials that one upstream gets.

use std::fmt;

use http::{HeaderName, HeaderValue, header};
use tower_revoke_core::{
    BearerToken,
    internal::{basic_authorization, bearer_authorization},
};

use super::ConfigError;
use crate::names::reads_as;

/// The credentials that one upstream gets. Secrets never show in `Debug`.
///
/// ```
/// use tower_revoke_preserve::{ConfigError, Outbound, OutboundAuthorizationLayer};
///
/// let layer = OutboundAuthorizationLayer::strip()
///     .upstream("shop.internal", Outbound::keep().keep_host())?
///     .upstream("static.internal", Outbound::strip().keep_host())?;
///
/// // The caller's `Host` would choose who gets the credentials of the proxy.
/// let ours = Outbound::client_credentials("id", "secret").keep_host();
/// assert!(matches!(
///     layer.upstream("stock.internal", ours),
///     Err(ConfigError::HostBesideOwnCredentials(_))
/// ));
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Outbound {
    pub(super) action: Action,
    pub(super) keeps_host: bool,
}

#[derive(Clone)]
pub(super) enum Action {
    Strip,
    Keep,
    Rename(HeaderName),
    Replace(HeaderValue),
}

impl Action {
    /// Whether the upstream gets the caller's credentials.
    pub(super) fn hands_on(&self) -> bool {
        matches!(self, Self::Keep | Self::Rename(_))
    }
}

impl From<Action> for Outbound {
    fn from(action: Action) -> Self {
        Self {
            action,
            keeps_host: false,
        }
    }
}

/// Headers that route, frame or authenticate the message itself.
const RESERVED: [HeaderName; 13] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

impl Outbound {
    /// Sends no credentials, as to an upstream that is not named.
    pub fn strip() -> Self {
        Action::Strip.into()
    }

    /// Sends the caller's `Authorization` header. If a layer has removed it, it is restored from
    /// [`OriginalAuthorization`](crate::OriginalAuthorization). Two such headers count as none.
    ///
    /// A token that a bearer layer read elsewhere (a cookie, the query, a WebSocket subprotocol) is sent
    /// as `Authorization: Bearer`. Once verified, it also replaces a header of another scheme, such
    /// as `Basic`, which nobody has checked.
    ///
    /// A request through a bearer layer that
    /// [forbids it](super::OutboundAuthorizationLayer#forbidden-forwarding) is rejected.
    pub fn keep() -> Self {
        Action::Keep.into()
    }

    /// Sends the caller's credentials in another header, and removes `Authorization`. What a client
    /// sends under this name, or one that CGI takes for it, is dropped for every upstream of the
    /// layer.
    ///
    /// # Errors
    /// [`ConfigError::InvalidHeaderName`]; [`ConfigError::ReservedHeader`] for a header such as
    /// `Host` or what CGI takes for it, and for `Authorization` itself: that is [`keep`](Self::keep).
    pub fn rename(name: &str) -> Result<Self, ConfigError> {
        let header = HeaderName::try_from(name).map_err(|source| {
            let name = name.to_owned();
            ConfigError::InvalidHeaderName { name, source }
        })?;
        let reads_as = |known: &HeaderName| reads_as(header.as_str(), known.as_str());
        if RESERVED.iter().any(reads_as) {
            return Err(ConfigError::ReservedHeader(name.to_owned()));
        }
        Ok(Action::Rename(header).into())
    }

    /// Sends the proxy's own client id and secret as `Basic`, both form-urlencoded first
    /// (RFC 6749 §2.3.1). The caller's credentials are removed.
    pub fn client_credentials(id: &str, secret: &str) -> Self {
        Action::Replace(basic_authorization(id, secret)).into()
    }

    /// Sends the proxy's own token for this upstream as `Bearer`. The caller's credentials are removed.
    ///
    /// # Errors
    /// [`ConfigError::InvalidToken`] if it is not a bearer token (RFC 6750 §2.1).
    pub fn bearer(token: &str) -> Result<Self, ConfigError> {
        let value = bearer_authorization(token).map_err(ConfigError::InvalidToken)?;
        BearerToken::from_authorization(&value).map_err(ConfigError::InvalidToken)?;
        Ok(Action::Replace(value).into())
    }

    /// Sends the request's `Host` header as it is. By default it is removed, so that the client derives it
    /// from the URI.
    ///
    /// A caller over HTTP/2 sends `:authority` instead, which is part of the URI: set `Host` from it
    /// before the URI is replaced by that of the upstream.
    ///
    /// [`upstream`](super::OutboundAuthorizationLayer::upstream) rejects it beside
    /// [`client_credentials`](Self::client_credentials) and [`bearer`](Self::bearer).
    #[must_use]
    pub fn keep_host(mut self) -> Self {
        self.keeps_host = true;
        self
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.action {
            Action::Strip => f.write_str("Strip"),
            Action::Keep => f.write_str("Keep"),
            Action::Rename(name) => f.debug_tuple("Rename").field(name).finish(),
            Action::Replace(_) => f.write_str("Replace"),
        }?;
        match self.keeps_host {
            true => f.write_str(" and Host"),
            false => Ok(()),
        }
    }
}
