//! The body of a response that may be owed a revocation.

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
    /// The inner service's body; its end waits until the token is revoked.
    #[derive(Debug)]
    pub struct RevokeBody<B: Body> {
        #[pin]
        body: WatchedBody<B, PendingCall>,
    }
}

impl<B: Body> RevokeBody<B> {
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

impl<B> Body for RevokeBody<B>
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
