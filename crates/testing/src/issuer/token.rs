//! A token under construction.

use std::{fmt, time::Duration};

use serde_json::{Map, Value};
use tower_revoke_core::UnixTime;

use super::TestIssuer;

/// A token under construction, made by [`TestIssuer::token`].
#[derive(Clone)]
#[must_use = "a token is nothing until it is signed"]
pub struct TestToken<'a> {
    pub(super) issuer: &'a TestIssuer,
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
}

impl TestToken<'_> {
    /// Sets `sub`.
    pub fn subject(self, subject: &str) -> Self {
        self.claim("sub", subject)
    }

    /// Sets `aud` to one audience.
    pub fn audience(self, audience: &str) -> Self {
        self.claim("aud", audience)
    }

    /// Sets `scope`, a space-separated list.
    pub fn scope(self, scope: &str) -> Self {
        self.claim("scope", scope)
    }

    /// Sets `jti`.
    pub fn jwt_id(self, jwt_id: &str) -> Self {
        self.claim("jti", jwt_id)
    }

    /// Sets a claim to any JSON value.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a claim.
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets `iat`.
    pub fn issued_at(self, at: UnixTime) -> Self {
        self.claim("iat", at.as_secs())
    }

    /// Sets `exp` to `life` from now, in whole seconds.
    pub fn expires_in(self, life: Duration) -> Self {
        let exp = self.issuer.clock.now().saturating_add(life);
        self.claim("exp", exp.as_secs())
    }

    /// Sets `iat` to two hours ago and `exp` to one hour ago.
    pub fn expired(self) -> Self {
        let now = self.issuer.clock.now();
        let hours = |count: u64| now.saturating_sub(Duration::from_secs(count * 3_600));
        self.issued_at(hours(2)).claim("exp", hours(1).as_secs())
    }

    /// Sets a header parameter to any JSON value. The signature is always made with the issuer's
    /// algorithm, whatever `alg` says.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a header parameter.
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Signs the token, and returns it in compact form (RFC 7515 §3.1).
    pub fn sign(self) -> String {
        self.issuer.sign_raw(
            Value::Object(self.header).to_string(),
            Value::Object(self.claims).to_string(),
        )
    }
}

impl fmt::Debug for TestToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestToken")
            .field("header", &self.header)
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}
