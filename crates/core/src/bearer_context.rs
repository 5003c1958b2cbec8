//! What a bearer layer leaves for the layers and handlers inside of it.

use std::sync::Arc;

use http::Extensions;

use crate::{Authenticated, BearerToken, RejectionFormat};

/// What a bearer layer leaves in a request, whether or not it found a token: the format of its
/// rejections, and the token as it was presented. It also tells "nobody is there" from "nobody has
/// looked".
///
/// It is part of the [`Authenticated`] in the request's extensions, or stands there by itself:
/// [`of`](Self::of) finds it in both places. A layer that replaces or removes that caller hands it
/// on, by [`Authenticated::with_context`] or in the extensions.
///
/// ```
/// use http::Extensions;
/// use tower_revoke_core::{BearerContext, BearerToken};
///
/// fn presented(extensions: &Extensions) -> Option<&BearerToken> {
///     BearerContext::of(extensions)?.token()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct BearerContext {
    format: Arc<RejectionFormat>,
    token: Option<BearerToken>,
}

impl BearerContext {
    /// Makes the context of a bearer layer with this format. `token` is the token as it was
    /// presented; in a layer that only observes, it may be a bad one.
    pub fn new(format: Arc<RejectionFormat>, token: Option<BearerToken>) -> Self {
        Self { format, token }
    }

    /// Returns the context of the innermost bearer layer that the request came through.
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        let caller = extensions.get::<Authenticated>();
        let beside_caller = caller.and_then(Authenticated::context);
        beside_caller.or_else(|| extensions.get())
    }

    /// Returns the token as it was presented.
    pub fn token(&self) -> Option<&BearerToken> {
        self.token.as_ref()
    }

    /// Returns the format in which the layer rejects.
    pub fn format(&self) -> &Arc<RejectionFormat> {
        &self.format
    }
}
