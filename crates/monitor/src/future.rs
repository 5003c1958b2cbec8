//! The response future: classifies the head, and hands the call on to the body.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use tower_revoke_core::{
    Classify, Outcome, Rejection,
    end::{Ending, RequestShape},
    internal,
};

use crate::{MonitorBody, counters::End, in_flight::InFlight};

pin_project! {
    /// The response future of [`MonitorService`](crate::MonitorService).
    #[derive(Debug)]
    pub struct MonitorFuture<F, C> {
        #[pin]
        inner: F,
        shape: RequestShape,
        // `None` once the head was handed on; without a call if its service is not counted.
        call: Option<(Option<InFlight>, C)>,
    }
}

impl<F, C> MonitorFuture<F, C> {
    pub(crate) fn new(inner: F, shape: RequestShape, call: Option<InFlight>, classify: C) -> Self {
        Self {
            inner,
            shape,
            call: Some((call, classify)),
        }
    }
}

impl<F, C, B, E> Future for MonitorFuture<F, C>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    C: Classify,
{
    type Output = Result<Response<MonitorBody<B, C>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Taken out, so that a panic of the inner future drops it, whoever catches the panic.
        let (mut call, classify) = this.call.take().expect(internal::POLLED_AFTER_COMPLETION);
        let result = this.inner.poll(cx);
        call.iter_mut().for_each(InFlight::find_client);
        match result {
            Poll::Pending => {
                *this.call = Some((call, classify));
                Poll::Pending
            }
            Poll::Ready(Ok(response)) => Poll::Ready(Ok(match call {
                Some(call) => after_head(response, *this.shape, call, classify),
                None => response.map(MonitorBody::counted),
            })),
            Poll::Ready(Err(error)) => {
                if let Some(call) = &mut call {
                    call.end_as(Outcome::Exception.into());
                }
                Poll::Ready(Err(error))
            }
        }
    }
}

/// Counts the call now if nothing follows the head, else with its body.
fn after_head<B: Body, C: Classify>(
    response: Response<B>,
    shape: RequestShape,
    mut call: InFlight,
    mut classify: C,
) -> Response<MonitorBody<B, C>> {
    let rejection = response.extensions().get::<Rejection>();
    let head = match rejection {
        Some(rejection) => Some(End::rejected(rejection.reason())),
        None => classify.of_head(&response).map(End::from),
    };
    let (status, headers) = (response.status(), response.headers());
    call.find_method(shape, status, headers, rejection.is_some());
    let ending = Ending::of(shape, &response);
    if ending == Ending::WithHead {
        call.end_as(head.unwrap_or_else(|| classify.of_trailers(None).into()));
        drop(call);
        return response.map(MonitorBody::counted);
    }
    response.map(|body| MonitorBody::counting(body, ending, call, head, classify))
}
