//! The request's body without the trailers that no caller may send.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{Rules, callers};

pin_project! {
    /// The request body that [`OutboundAuthorization`](crate::OutboundAuthorization) hands to the
    /// client: the caller's, without the trailers that an upstream could take for a header that the
    /// layer removes or sets.
    ///
    /// A client that wants another body, such as tonic's `Channel`, is given it further in:
    ///
    /// ```
    /// use http::{Request, Response};
    /// use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
    /// use tower::{Service, ServiceBuilder};
    /// use tower_revoke_preserve::{OutboundAuthorizationLayer, OutboundBody};
    ///
    /// # type Bytes = bytes::Bytes;
    /// # type Full = http_body_util::Full<Bytes>;
    /// type Boxed = UnsyncBoxBody<Bytes, std::convert::Infallible>;
    ///
    /// fn client<B>(
    ///     outbound: OutboundAuthorizationLayer,
    ///     channel: impl Service<Request<Boxed>, Response = Response<B>>,
    /// ) -> impl Service<Request<Full>> {
    ///     ServiceBuilder::new()
    ///         .layer(outbound)
    ///         .map_request(|request: Request<OutboundBody<Full>>| request.map(Boxed::new))
    ///         .service(channel)
    /// }
    /// ```
    pub struct OutboundBody<B> {
        #[pin]
        inner: B,
        rules: Arc<Rules>,
    }
}

impl<B> OutboundBody<B> {
    pub(super) fn new(inner: B, rules: Arc<Rules>) -> Self {
        Self { inner, rules }
    }
}

impl<B: Body> Body for OutboundBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        loop {
            let frame = ready!(this.inner.as_mut().poll_frame(cx));
            let mut trailers = match frame.map(|frame| frame.map(Frame::into_trailers)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(Err(data))) => return Poll::Ready(Some(Ok(data))),
                Some(Ok(Ok(trailers))) => trailers,
            };
            let had_any = !trailers.is_empty();
            callers::remove_trailers(&mut trailers, &this.rules.renamed);
            // A frame of which nothing is left is dropped.
            if !(had_any && trailers.is_empty()) {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: fmt::Debug> fmt::Debug for OutboundBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OutboundBody").field(&self.inner).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, iter};

    use bytes::Bytes;
    use futures_util::stream;
    use http::{HeaderMap, HeaderValue};
    use http_body_util::{BodyExt, Empty, Full, StreamBody};

    use super::*;

    fn trailers(names: &[&'static str]) -> HeaderMap {
        let value = HeaderValue::from_static("1");
        names
            .iter()
            .map(|name| (name.parse().unwrap(), value.clone()))
            .collect()
    }

    fn over<B>(inner: B) -> OutboundBody<B> {
        let rules = Rules {
            renamed: vec!["x-caller".parse().unwrap()],
            ..Rules::default()
        };
        OutboundBody::new(inner, Arc::new(rules))
    }

    /// Returns the frames that come out, trailers by their names.
    async fn frames(names: &[&'static str]) -> Vec<String> {
        let data = Frame::data(Bytes::from_static(b"hello"));
        let frames = [data, Frame::trailers(trailers(names))].map(Ok::<_, Infallible>);
        let mut body = over(StreamBody::new(stream::iter(frames)));
        let mut seen = Vec::new();
        while let Some(frame) = body.frame().await {
            seen.push(match frame.unwrap().into_trailers() {
                Ok(trailers) => {
                    let names: Vec<_> = trailers.keys().map(|name| name.as_str()).collect();
                    names.join(" ")
                }
                Err(_) => "data".to_owned(),
            });
        }
        seen
    }

    #[tokio::test]
    async fn trap_45_trailers_with_twins_of_removed_or_set_names_are_dropped() {
        for name in [
            "authorization",
            "cookie",
            "host",
            "proxy_authorization",
            "x-caller",
            "x_caller",
            "x-forwarded-for",
            "x.forwarded.for",
        ] {
            assert_eq!(frames(&[name, "x-sum"]).await, ["data", "x-sum"], "{name}");
            assert_eq!(frames(&[name]).await, ["data"], "{name}");
        }
        assert_eq!(frames(&["x-callers"]).await, ["data", "x-callers"]);
        assert_eq!(frames(&[]).await, ["data", ""], "as it came");
    }

    #[tokio::test]
    async fn trap_45_length_and_end_are_those_of_the_body() {
        assert!(over(Empty::<Bytes>::new()).is_end_stream());
        let mut body = over(Full::<Bytes>::from("hello"));
        assert!(!body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(5));
        body.frame().await.unwrap().unwrap();
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        let unknown = stream::iter(iter::empty::<Result<Frame<Bytes>, Infallible>>());
        assert_eq!(over(StreamBody::new(unknown)).size_hint().exact(), None);
    }
}
