//! Which calls spend: conditions on the caller and the request's head.

use std::{fmt, sync::Arc};

use http::{Extensions, HeaderMap, Method, Request, Uri};
use serde_json::Value;
use tower_revoke_core::Authenticated;

/// A call, as a condition sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// Who calls.
    pub caller: &'a Authenticated,
    /// The method.
    pub method: &'a Method,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The extensions: what outer layers found out.
    pub extensions: &'a Extensions,
    uri: &'a Uri,
    path: &'a str,
}

impl<'a> Call<'a> {
    /// `path`: as [`read_path`](tower_revoke_core::read_path) returned it.
    pub(crate) fn new<B>(
        caller: &'a Authenticated,
        request: &'a Request<B>,
        path: &'a str,
    ) -> Self {
        Self {
            caller,
            method: request.method(),
            headers: request.headers(),
            extensions: request.extensions(),
            uri: request.uri(),
            path,
        }
    }

    /// Returns the path, decoded and without matrix parameters. Where it has encoded reserved
    /// characters, the condition is asked again with these as they are written. Below a nested
    /// router it is what the router left of it.
    ///
    /// A path that a server behind the condition may read differently was rejected before, see
    /// [`RevokeLayer::when`](crate::RevokeLayer::when).
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// Returns the target as it came. Conditions should read [`path`](Self::path) instead: a path
    /// may be written in several ways, and this is one of them.
    pub fn raw_uri(&self) -> &'a Uri {
        self.uri
    }
}

/// A condition under which a call spends its token.
///
/// ```
/// use http::Method;
/// use tower_revoke_spend::{Call, When};
///
/// let one_time = When::scope("OTT");
/// let paid = When::claim("plan", "per-call").and(|call: &Call<'_>| call.method == Method::POST);
/// let either = one_time.or(paid);
/// ```
#[derive(Clone)]
pub struct When(Arc<dyn Fn(&Call<'_>) -> bool + Send + Sync>);

impl When {
    /// The token carries this scope, such as WSO2's `OTT`.
    pub fn scope(scope: impl Into<String>) -> Self {
        let scope = scope.into();
        Self::from(move |call: &Call<'_>| call.caller.has_scope(&scope))
    }

    /// The token carries this claim with this value.
    pub fn claim(name: impl Into<String>, value: impl Into<Value>) -> Self {
        let (name, value) = (name.into(), value.into());
        Self::from(move |call: &Call<'_>| call.caller.get(&name) == Some(&value))
    }

    /// Both this and the other.
    #[must_use]
    pub fn and(self, other: impl Into<Self>) -> Self {
        let other = other.into();
        Self::from(move |call: &Call<'_>| self.holds(call) && other.holds(call))
    }

    /// This or the other.
    #[must_use]
    pub fn or(self, other: impl Into<Self>) -> Self {
        let other = other.into();
        Self::from(move |call: &Call<'_>| self.holds(call) || other.holds(call))
    }

    pub(crate) fn holds(&self, call: &Call<'_>) -> bool {
        (self.0)(call)
    }
}

impl<F> From<F> for When
where
    F: Fn(&Call<'_>) -> bool + Send + Sync + 'static,
{
    fn from(condition: F) -> Self {
        Self(Arc::new(condition))
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("When")
    }
}
