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
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<B: Body> {
        Plain { #[pin] body: B },
        Watched { #[pin] body: WatchedBody<B, Debt> },
    }
}

impl<B: Body> RevokeBody<B> {
    pub(crate) fn plain(body: B) -> Self {
        Self {
            kind: Kind::Plain { body },
        }
    }

    pub(crate) fn owing(body: B, ending: Ending, debt: Debt) -> Self {
        Self {
            kind: Kind::Watched {
                body: WatchedBody::new(body, ending, debt),
            },
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
        match self.project().kind.project() {
            KindProj::Plain { body } => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
            KindProj::Watched { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Plain { body } => body.is_end_stream(),
            Kind::Watched { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Plain { body } => body.size_hint(),
            Kind::Watched { body } => body.size_hint(),
        }
    }
}
