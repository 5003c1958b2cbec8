//! Why a component is not ready.

use std::borrow::Cow;

use crate::BoxError;

/// The error of the `ready` methods of components that depend on another server.
///
/// They all return it, so that a program waits for them with one `tokio::try_join!`.
#[derive(Debug, thiserror::Error)]
#[error("{component} is not ready")]
pub struct ReadyError {
    component: Cow<'static, str>,
    source: BoxError,
}

impl ReadyError {
    /// Returns the error of this component, with its cause.
    pub fn new(component: impl Into<Cow<'static, str>>, source: impl Into<BoxError>) -> Self {
        Self {
            component: component.into(),
            source: source.into(),
        }
    }

    /// Returns the name of the component, such as "the revocation list".
    pub fn component(&self) -> &str {
        &self.component
    }
}
