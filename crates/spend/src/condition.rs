//! Which calls spend: conditions on the caller and the head of the request.

use std::{fmt, ops::Not, sync::Arc};

use http::{Extensions, HeaderMap, Method, Request, Uri};
use serde_json::Value;
use tower_revoke_core::Authenticated;

/// The head of a request and its caller, as a [`Condition`] sees them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConditionRequest<'a> {
    /// The caller.
    pub caller: &'a Authenticated,
    /// The method.
    pub method: &'a Method,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The extensions, with what outer layers have put there.
    pub extensions: &'a Extensions,
    uri: &'a Uri,
    path: &'a str,
}

impl<'a> ConditionRequest<'a> {
    /// `path` as [`read_path`](tower_revoke_core::read_path) has returned it.
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

    /// Returns the path, decoded and without matrix parameters.
    ///
    /// If it has encoded reserved characters, the condition is evaluated a second time, with these
    /// as they were written. Inside a nested router it is the rest that the router has left. A path
    /// that servers may read differently never gets here, see
    /// [`UseLimitLayer::when`](crate::UseLimitLayer::when).
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// Returns the request's target as it was sent, which is one of several spellings of
    /// [`path`](Self::path). Conditions should read that instead.
    pub fn raw_uri(&self) -> &'a Uri {
        self.uri
    }
}

/// A condition under which a call spends its token.
///
/// Any `Fn(&ConditionRequest<'_>) -> bool` is one.
///
/// # Examples
/// ```
/// use http::Method;
/// use tower_revoke_spend::{Condition, ConditionRequest, UseLimitLayer};
///
/// let one_time = Condition::scope("OTT");
/// let paid_post = Condition::claim("plan", "per-call")
///     .and(|request: &ConditionRequest<'_>| request.method == Method::POST);
/// let layer = UseLimitLayer::single().when(one_time.or(paid_post));
///
/// let all_but_free = UseLimitLayer::single().when(!Condition::scope("free"));
/// ```
#[derive(Clone)]
pub struct Condition(Arc<dyn Fn(&ConditionRequest<'_>) -> bool + Send + Sync>);

impl Condition {
    /// Holds if the token carries this scope, such as WSO2's `OTT`.
    pub fn scope(scope: impl Into<String>) -> Self {
        let scope = scope.into();
        Self::from(move |request: &ConditionRequest<'_>| request.caller.has_scope(&scope))
    }

    /// Holds if the token carries this claim with this value.
    pub fn claim(name: impl Into<String>, value: impl Into<Value>) -> Self {
        let (name, value) = (name.into(), value.into());
        Self::from(move |request: &ConditionRequest<'_>| request.caller.get(&name) == Some(&value))
    }

    /// Holds if both conditions hold.
    #[must_use]
    pub fn and(self, other: impl Into<Self>) -> Self {
        let other = other.into();
        Self::from(move |request: &ConditionRequest<'_>| {
            self.holds(request) && other.holds(request)
        })
    }

    /// Holds if at least one of the two conditions holds.
    #[must_use]
    pub fn or(self, other: impl Into<Self>) -> Self {
        let other = other.into();
        Self::from(move |request: &ConditionRequest<'_>| {
            self.holds(request) || other.holds(request)
        })
    }

    pub(crate) fn holds(&self, request: &ConditionRequest<'_>) -> bool {
        (self.0)(request)
    }
}

/// `!condition` holds where the condition doesn't.
impl Not for Condition {
    type Output = Self;

    fn not(self) -> Self {
        Self::from(move |request: &ConditionRequest<'_>| !self.holds(request))
    }
}

impl<F> From<F> for Condition
where
    F: Fn(&ConditionRequest<'_>) -> bool + Send + Sync + 'static,
{
    fn from(condition: F) -> Self {
        Self(Arc::new(condition))
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condition")
    }
}
