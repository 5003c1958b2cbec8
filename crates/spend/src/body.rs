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

use crate::owed::Debt;

pin_project! {
    /// The inner service's body; its end waits for the token's.
    #[derive(Debug)]
    pub struct RevokeBody<B: Body> {
        #[pin]
        body: WatchedBody<B, Debt>,
    }
}

impl<B: Body> RevokeBody<B> {
    pub(crate) fn plain(body: B) -> Self {
        Self {
            body: WatchedBody::unwatched(body),
        }
    }

    pub(crate) fn owing(body: B, ending: Ending, debt: Debt) -> Self {
        Self {
            body: WatchedBody::new(body, ending, debt),
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
