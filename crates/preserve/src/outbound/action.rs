//! What one upstream gets.

use std::fmt;

use http::{HeaderName, HeaderValue, header};
use tower_revoke_core::BearerToken;

use super::{ConfigError, secret};

/// What an upstream gets in place of nothing. Secrets never show in `Debug`.
#[derive(Clone)]
pub struct Outbound(pub(super) Action);

#[derive(Clone)]
pub(super) enum Action {
    Keep,
    Rename(HeaderName),
    Replace(HeaderValue),
}

/// What routes, frames or authenticates the message itself.
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
    /// The caller's `Authorization` header. If a layer has removed it, it is put back from
    /// [`OriginalAuthorization`](crate::OriginalAuthorization). Two such headers are none.
    pub fn keep() -> Self {
        Self(Action::Keep)
    }

    /// The caller's credentials, in another header; `Authorization` is removed. Whatever a client
    /// sends under this name is dropped, for every upstream of the layer.
    ///
    /// # Errors
    /// [`ConfigError::InvalidHeaderName`]; [`ConfigError::ReservedHeader`] for a header such as
    /// `Host`, and for `Authorization` itself: that is [`keep`](Self::keep).
    pub fn rename(name: &str) -> Result<Self, ConfigError> {
        let header = HeaderName::try_from(name).map_err(|source| {
            let name = name.to_owned();
            ConfigError::InvalidHeaderName { name, source }
        })?;
        if RESERVED.contains(&header) {
            return Err(ConfigError::ReservedHeader(name.to_owned()));
        }
        Ok(Self(Action::Rename(header)))
    }

    /// The proxy's own client id and secret, as `Basic`; both are form-urlencoded first
    /// (RFC 6749 §2.3.1). The caller's credentials are removed.
    pub fn client_credentials(id: &str, secret: &str) -> Self {
        Self(Action::Replace(secret::basic(id, secret)))
    }

    /// The proxy's own token for this backend, as `Bearer`. The caller's credentials are removed.
    ///
    /// # Errors
    /// [`ConfigError::InvalidToken`] if it is no bearer token (RFC 6750 §2.1).
    pub fn bearer(token: &str) -> Result<Self, ConfigError> {
        let value = secret::bearer(token).map_err(ConfigError::InvalidToken)?;
        BearerToken::from_authorization(&value).map_err(ConfigError::InvalidToken)?;
        Ok(Self(Action::Replace(value)))
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Action::Keep => f.write_str("Keep"),
            Action::Rename(name) => f.debug_tuple("Rename").field(name).finish(),
            Action::Replace(_) => f.write_str("Replace"),
        }
    }
}
