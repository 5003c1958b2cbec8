//! Compile-time tests of auto traits.

use std::{
    fmt::Debug,
    future::Ready,
    rc::Rc,
    task::{Context, Poll},
};

use http::{Request, Response};
use static_assertions::{assert_impl_all, assert_type_eq_all};
use tower::Service;
use tower_revoke_core::RejectionFuture;
use tower_revoke_preserve::{
    ConfigError, HopByHop, HopByHopLayer, OriginalAuthorization, Outbound, OutboundAuthorization,
    OutboundAuthorizationLayer, OutboundBody, PreserveAuthorization, PreserveAuthorizationLayer,
    PreserveForProxy, PreserveForProxyLayer, RejectAmbiguous, RejectAmbiguousLayer,
};

assert_impl_all!(PreserveAuthorizationLayer: Clone, Copy, Send, Sync, Debug, Default);
assert_impl_all!(PreserveForProxyLayer: Clone, Send, Sync, Debug, Default);
assert_impl_all!(OutboundAuthorizationLayer: Clone, Send, Sync, Debug);
assert_impl_all!(HopByHopLayer: Clone, Send, Sync, Debug);
assert_impl_all!(RejectAmbiguousLayer: Clone, Copy, Send, Sync, Debug, Default);
assert_impl_all!(Outbound: Clone, Send, Sync, Debug);
assert_impl_all!(OriginalAuthorization: Clone, Send, Sync, Debug);
assert_impl_all!(ConfigError: std::error::Error, Send, Sync);
assert_impl_all!(PreserveAuthorization<()>: Clone, Send, Sync, Debug);
assert_impl_all!(PreserveForProxy<()>: Clone, Send, Sync, Debug);
assert_impl_all!(HopByHop<()>: Clone, Send, Sync, Debug);
assert_impl_all!(RejectAmbiguous<()>: Clone, Send, Sync, Debug);
assert_impl_all!(OutboundAuthorization<()>: Clone, Send, Sync, Debug);
assert_impl_all!(OutboundBody<()>: Send, Sync, Debug);

/// Neither `Clone` nor `Send`, with a body that is neither.
struct Local(#[expect(dead_code, reason = "makes it neither `Send` nor `Sync`")] Rc<()>);

impl<B> Service<Request<B>> for Local {
    type Response = Response<Rc<()>>;
    type Error = Rc<()>;
    type Future = Ready<Result<Response<Rc<()>>, Rc<()>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Rc<()>>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        std::future::ready(Ok(Response::new(Rc::new(()))))
    }
}

type FutureOf<S> = <S as Service<Request<Rc<()>>>>::Future;

// The inner future itself, without a box.
assert_type_eq_all!(FutureOf<PreserveAuthorization<Local>>, FutureOf<Local>);
assert_type_eq_all!(
    FutureOf<OutboundAuthorization<Local>>,
    RejectionFuture<FutureOf<Local>>
);
assert_impl_all!(PreserveForProxy<Local>: Service<Request<Rc<()>>>);
