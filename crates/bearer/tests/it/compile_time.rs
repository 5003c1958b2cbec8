//! Compile-time tests of auto traits.

use std::{fmt::Debug, marker::PhantomData, rc::Rc};

use http::{Request, Response};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use tower::Service;
use tower_revoke_bearer::{
    RequireBearer, RequireBearerFuture, RequireBearerLayer, RequireClaims, RequireClaimsLayer,
};

use super::support::{Inner, Tokens};

type NotSend = Rc<()>;

assert_not_impl_any!(Tokens: Clone);
assert_impl_all!(RequireBearerLayer<Tokens>: Clone, Send, Sync, Debug);
assert_impl_all!(RequireBearer<Inner, Tokens>: Clone, Send, Sync, Debug);
assert_impl_all!(RequireBearerFuture<Inner, Tokens, ()>: Send, Debug);
assert_impl_all!(RequireClaimsLayer: Clone, Send, Sync, Debug);
assert_impl_all!(RequireClaims<Inner>: Clone, Send, Sync, Debug);

/// `!Send` parts make the whole `!Send`, but are accepted.
#[derive(Clone)]
struct Local(PhantomData<NotSend>);

impl<B> Service<Request<B>> for Local {
    type Response = Response<()>;
    type Error = NotSend;
    type Future = std::future::Ready<Result<Response<()>, NotSend>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), NotSend>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        std::future::ready(Ok(Response::new(())))
    }
}

assert_impl_all!(RequireBearer<Local, Tokens>: Service<Request<NotSend>>);
assert_not_impl_any!(RequireBearerFuture<Local, Tokens, NotSend>: Send);
assert_impl_all!(RequireClaims<Local>: Service<Request<NotSend>>);
