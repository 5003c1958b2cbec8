//! The body of a response, whose end may wait for a revocation.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_revoke_core::{
    BoxError,
    end::{Ending, WatchedBody},
};

use crate::pending::PendingCall;

pin_project! {
    /// The inner service's body. After a call that revokes its token, the end of the body waits
    /// until the revocation is recorded.
    #[derive(Debug)]
    pub struct SpendBody<B: Body> {
        #[pin]
        body: WatchedBody<B, PendingCall>,
    }
}

impl<B: Body> SpendBody<B> {
    pub(crate) fn plain(body: B) -> Self {
        Self {
            body: WatchedBody::unwatched(body),
        }
    }

    pub(crate) fn revoking(body: B, ending: Ending, call: PendingCall) -> Self {
        Self {
            body: WatchedBody::new(body, ending, call),
        }
    }
}

impl<B> Body for SpendBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
