//! The rules that free a call of its cost, which look at the head of the response.

use std::{fmt, sync::Arc};

use http::{Extensions, HeaderMap, Response, StatusCode};
use tower_revoke_core::Outcome;

/// The head of a response, as a rule over the outcome of a call sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ResponseHead<'a> {
    /// The outcome of the call, as far as the head tells.
    pub outcome: Outcome,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The extensions.
    pub extensions: &'a Extensions,
}

impl<'a> ResponseHead<'a> {
    fn of<B>(response: &'a Response<B>) -> Self {
        Self {
            outcome: Outcome::of_head(response),
            status: response.status(),
            headers: response.headers(),
            extensions: response.extensions(),
        }
    }
}

/// A rule that frees a call of its cost.
#[derive(Clone)]
pub(crate) enum OutcomeRule {
    On(Outcome),
    If(Arc<dyn Fn(&ResponseHead<'_>) -> bool + Send + Sync>),
}

impl OutcomeRule {
    /// Returns whether one of the rules holds for a call with this result. An error of the inner
    /// service is an exception without a head.
    pub(crate) fn any_holds<B, E>(rules: &[Self], result: &Result<Response<B>, E>) -> bool {
        let head = result.as_ref().ok().map(ResponseHead::of);
        let outcome = head.map_or(Outcome::Exception, |head| head.outcome);
        rules.iter().any(|rule| match rule {
            Self::On(on) => *on == outcome,
            Self::If(rule) => head.as_ref().is_some_and(|head| rule(head)),
        })
    }
}

impl fmt::Debug for OutcomeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On(outcome) => write!(f, "On({outcome:?})"),
            Self::If(_) => f.write_str("If(…)"),
        }
    }
}
