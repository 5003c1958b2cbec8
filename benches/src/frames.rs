//! What a frame of a live stream costs beside one of the bare body.

use std::{
    convert::Infallible,
    hint::black_box,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use axum::body::Bytes;
use http::{Request, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use tower::{Layer, Service, service_fn};
use tower_revoke::{
    Authenticated, RevocationList, TokenLifetimeLayer,
    core::{Revocations, VerifiedToken},
};

use crate::rounds::{Outcome, median, worked};

/// The most that a frame may cost beyond the bare body's, in nanoseconds.
const GOAL: f64 = 25.0;

const FRAMES: u32 = 100_000;

/// A body of many frames.
struct Frames {
    frame: Bytes,
    left: u32,
    /// Whether the next frame is still to be waited for.
    pends: bool,
    /// Whether every frame is waited for.
    waits: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.pends {
            self.pends = false;
            return Poll::Pending;
        }
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        self.pends = self.waits;
        Poll::Ready(Some(Ok(Frame::data(self.frame.clone()))))
    }
}

/// A kind of body, with the media type that the layer knows it by.
struct Kind {
    name: &'static str,
    media: &'static str,
    frame: Bytes,
    waits: bool,
}

impl Kind {
    fn body(&self) -> Frames {
        Frames {
            frame: self.frame.clone(),
            left: FRAMES,
            pends: false,
            waits: self.waits,
        }
    }

    /// Returns the body of a response that the layer watches.
    async fn watched(&self, token: &Arc<VerifiedToken>) -> impl Body<Data = Bytes> + use<> {
        let media = self.media;
        let body = self.body();
        let handler = |_: Request<()>| {
            let mut response = Response::new(Frames { ..body });
            let media = http::HeaderValue::from_static(media);
            response.headers_mut().insert(CONTENT_TYPE, media);
            async { Ok::<_, Infallible>(response) }
        };
        let mut handler = Some(handler);
        let handler = service_fn(move |request| {
            let handler = handler.take().expect("one call");
            handler(request)
        });
        let mut request = Request::new(());
        if media == "application/grpc" {
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(media));
        }
        let caller = Authenticated::new(token.clone());
        request.extensions_mut().insert(caller);
        let response = TokenLifetimeLayer::new().layer(handler).call(request).await;
        response.expect("infallible").into_body()
    }
}

/// Reads a body to its end. Returns the nanoseconds per frame.
fn read<B: Body<Data = Bytes>>(body: B) -> Outcome<f64> {
    // Boxed, as in a server.
    let mut body: Pin<Box<dyn Body<Data = Bytes, Error = B::Error>>> = Box::pin(body);
    let mut cx = Context::from_waker(Waker::noop());
    let mut frames = 0;
    let begun = worked();
    loop {
        match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => {
                black_box(frame);
                frames += 1;
            }
            Poll::Ready(Some(Err(_))) => return Err("a body was cut off".to_owned()),
            Poll::Ready(None) => break,
            Poll::Pending => {}
        }
    }
    let took = worked().saturating_sub(begun);
    match frames {
        FRAMES => Ok(took.as_nanos() as f64 / f64::from(FRAMES)),
        _ => Err(format!("{frames} frames in place of {FRAMES}")),
    }
}

/// Prints what a frame costs, bare and watched, in rounds that take turns.
pub fn run(is_quick: bool) -> Outcome<()> {
    let rounds = if is_quick { 9 } else { 101 };
    let kinds = [false, true].into_iter().flat_map(|waits| {
        [
            (
                "chunked",
                "application/octet-stream",
                Bytes::from(vec![7; 1_024]),
            ),
            (
                "events",
                "text/event-stream",
                Bytes::from(format!("data: {}\n\n", "7".repeat(1_016))),
            ),
            (
                "gRPC",
                "application/grpc",
                Bytes::from([&[0, 0, 0, 4, 0][..], &[7; 1_024]].concat()),
            ),
        ]
        .map(|(name, media, frame)| Kind {
            name,
            media,
            frame,
            waits,
        })
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| error.to_string())?;
    let _entered = runtime.enter();
    let list: Arc<dyn Revocations> = RevocationList::in_memory().into();
    let token = crate::tokens::verified(list);
    println!("ns a frame of 1 KiB, median of {rounds} rounds in which both take turns");
    println!("body | frames | bare | watched | difference");
    for kind in kinds {
        let (mut bare, mut watched, mut more) = (vec![], vec![], vec![]);
        for _ in 0..rounds {
            let (without, with) = (
                read(kind.body())?,
                read(runtime.block_on(kind.watched(&token)))?,
            );
            bare.push(without);
            watched.push(with);
            more.push(with - without);
        }
        let more = median(&more);
        println!(
            "{} | {} | {:.1} | {:.1} | {more:.1}{}",
            kind.name,
            if kind.waits {
                "each waited for"
            } else {
                "at once"
            },
            median(&bare),
            median(&watched),
            if more > GOAL { " (over the goal)" } else { "" },
        );
    }
    Ok(())
}
