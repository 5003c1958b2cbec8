//! What a layer was told, shared by all its requests.

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use http::{Extensions, HeaderMap, Method, Response, StatusCode};
use tower_revoke_core::{Clock, Outcome, internal::OutageLog};

use crate::{PendingRevocations, When, pending::Servers};

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) cost: Cost,
    pub(crate) when: Option<When>,
    pub(crate) except: Vec<Method>,
    pub(crate) return_rule: Vec<GiveBack>,
    pub(crate) on_store_error: OnStoreError,
    pub(crate) commit_timeout: Duration,
    pub(crate) deadline: Duration,
    pub(crate) slots: PendingRevocations,
    pub(crate) servers: Servers,
    pub(crate) clock: Clock,
    /// Of the lists that what is owed is written to.
    pub(crate) outage: Arc<OutageLog>,
}

/// What a response costs its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    /// Its life, at the end of the response.
    Life,
    /// One of so many uses, before the call.
    Use(NonZeroU32),
}

/// What becomes of a response when its token's end could not be written down in time.
///
/// Either way the layer keeps trying until it is, or until the token's life is past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnStoreError {
    /// It is not completed: a 500 while the head is still to come, else the body is cut off. Who
    /// has a whole response has a dead token.
    #[default]
    CutOff,
    /// It is completed all the same. Until the store is back, the token lives.
    Deliver,
}

/// The head of a response, as a rule sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Head<'a> {
    /// How the call went, as far as the head says.
    pub outcome: Outcome,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The extensions.
    pub extensions: &'a Extensions,
}

impl<'a> Head<'a> {
    pub(crate) fn of<B>(response: &'a Response<B>) -> Self {
        Self {
            outcome: Outcome::of_head(response),
            status: response.status(),
            headers: response.headers(),
            extensions: response.extensions(),
        }
    }
}

/// A rule that returns a use.
#[derive(Clone)]
pub(crate) enum GiveBack {
    On(Outcome),
    If(Arc<dyn Fn(&Head<'_>) -> bool + Send + Sync>),
}

impl fmt::Debug for GiveBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On(outcome) => write!(f, "On({outcome:?})"),
            Self::If(_) => f.write_str("If(…)"),
        }
    }
}

impl Config {
    /// Whether a rule returns the use, now that the head is there.
    pub(crate) fn gives_back<B>(&self, response: &Response<B>) -> bool {
        let head = Head::of(response);
        self.return_rule.iter().any(|rule| match rule {
            GiveBack::On(outcome) => *outcome == head.outcome,
            GiveBack::If(rule) => rule(&head),
        })
    }

    /// The same for an inner service that failed without a response.
    pub(crate) fn gives_back_errors(&self) -> bool {
        self.return_rule
            .iter()
            .any(|rule| matches!(rule, GiveBack::On(Outcome::Exception)))
    }
}
