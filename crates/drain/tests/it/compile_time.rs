//! Compile-time tests of auto traits.

use std::{
    fmt::Debug,
    future::{Future, Ready},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::{Body, Frame};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use tower::Service;
use tower_revoke_drain::{DrainUpload, DrainUploadBody, DrainUploadFuture, DrainUploadLayer};

assert_impl_all!(DrainUploadLayer: Clone, Send, Sync, Debug, Default);
assert_impl_all!(DrainUpload<()>: Clone, Send, Sync, Debug);
assert_impl_all!(DrainUploadBody<axum::body::Body>: Body, Send, Unpin, Debug);
assert_impl_all!(DrainUploadFuture<Ready<()>, axum::body::Body, ()>: Send, Debug);

/// A body that is neither `Send`, nor `Unpin`, nor `Debug`, with data other than `Bytes`.
struct Local(Rc<()>, std::marker::PhantomPinned);

impl Body for Local {
    type Data = &'static [u8];
    type Error = Rc<()>;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<&'static [u8]>, Rc<()>>>> {
        Poll::Ready(Some(Err(self.0.clone())))
    }
}

/// Neither `Clone` nor `Send`, with a response and an error that are neither.
struct Inner(#[expect(dead_code, reason = "makes it neither `Send` nor `Sync`")] Rc<()>);

impl Service<Request<DrainUploadBody<Local>>> for Inner {
    type Response = Response<Rc<()>>;
    type Error = Rc<()>;
    type Future = Ready<Result<Response<Rc<()>>, Rc<()>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Rc<()>>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<DrainUploadBody<Local>>) -> Self::Future {
        std::future::ready(Ok(Response::new(Rc::new(()))))
    }
}

type FutureOf<S> = <S as Service<Request<Local>>>::Future;

assert_impl_all!(DrainUpload<Inner>: Service<Request<Local>>);
assert_impl_all!(FutureOf<DrainUpload<Inner>>: Future);
assert_not_impl_any!(FutureOf<DrainUpload<Inner>>: Send);
