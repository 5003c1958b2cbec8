//! What a bearer layer leaves for the layers and handlers inside of it.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};

use http::Extensions;

use crate::{Authenticated, BearerToken, RejectionFormat, internal::StreamObserver};

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
pub struct BearerContext(Arc<Context>);

#[derive(Debug)]
struct Context {
    format: Arc<RejectionFormat>,
    token: Option<BearerToken>,
    /// Of the streams of the request, if a layer further out counts them.
    observer: Option<Arc<dyn StreamObserver>>,
    /// Set when the head of the response passes the bearer layer.
    head_has_passed: AtomicBool,
}

impl BearerContext {
    /// Makes the context of a bearer layer with this format. `token` is the token as it was
    /// presented; in a layer that only observes, it may be a bad one.
    pub fn new(format: Arc<RejectionFormat>, token: Option<BearerToken>) -> Self {
        observed_context(format, token, None)
    }

    /// Returns the context of the innermost bearer layer that the request came through.
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        let caller = extensions.get::<Authenticated>();
        let beside_caller = caller.and_then(Authenticated::context);
        beside_caller.or_else(|| extensions.get())
    }

    /// Returns the token as it was presented.
    pub fn token(&self) -> Option<&BearerToken> {
        self.0.token.as_ref()
    }

    /// Returns the format in which the layer rejects.
    pub fn format(&self) -> &Arc<RejectionFormat> {
        &self.0.format
    }

    pub(crate) fn observer(&self) -> Option<&Arc<dyn StreamObserver>> {
        self.0.observer.as_ref()
    }

    pub(crate) fn response_head(&self) -> ResponseHead {
        ResponseHead(Arc::downgrade(&self.0))
    }
}

/// Makes the context of a bearer layer that keeps the observer of the request's streams.
pub fn observed_context(
    format: Arc<RejectionFormat>,
    token: Option<BearerToken>,
    observer: Option<Arc<dyn StreamObserver>>,
) -> BearerContext {
    BearerContext(Arc::new(Context {
        format,
        token,
        observer,
        head_has_passed: AtomicBool::new(false),
    }))
}

/// The extension of a request whose credentials must not leave the program, which a bearer layer leaves
/// by `forbid_forwarding`. A layer that hands credentials to another server rejects such a request.
#[derive(Clone, Copy, Debug)]
pub struct ForwardingForbidden;

/// Tells whether the head of a response has passed the bearer layer. It doesn't keep the token that
/// was presented, so a handler may hold it for longer than the request.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResponseHead(Weak<Context>);

impl ResponseHead {
    /// Returns `true` also if the bearer layer's future was dropped, and without a bearer layer: then
    /// nobody could tell.
    pub(crate) fn has_passed(&self) -> bool {
        let context = self.0.upgrade();
        context.is_none_or(|context| context.head_has_passed.load(Ordering::Acquire))
    }
}

/// Keeps a context while the head of the response is still to come. To be dropped before the head is
/// handed on.
#[derive(Debug)]
pub struct HeadGuard(BearerContext);

/// Makes the guard of a bearer layer's response future.
pub fn head_guard(context: &BearerContext) -> HeadGuard {
    HeadGuard(context.clone())
}

impl Drop for HeadGuard {
    fn drop(&mut self) {
        self.0.0.head_has_passed.store(true, Ordering::Release);
    }
}
