//! A router under load, and the statuses that it responds with.

use std::{collections::BTreeMap, convert::Infallible, fmt, pin::Pin};

use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::BodyExt;
use tower::{BoxError, Service};

/// The number of responses per status.
#[derive(Default)]
pub struct Statuses(BTreeMap<StatusCode, u64>);

/// A router of any axum version.
pub trait Target {
    /// Sends `count` requests one after the other, cycling through the headers from `start` on.
    fn send<'a>(
        &'a mut self,
        headers: &'a [HeaderValue],
        start: usize,
        count: usize,
    ) -> Pin<Box<dyn Future<Output = Statuses> + 'a>>;

    /// Serves HTTP/1.1 until the future is dropped. Request bodies are ignored.
    #[cfg(feature = "peers")]
    fn serve(&self, listener: tokio::net::TcpListener) -> Pin<Box<dyn Future<Output = ()> + '_>>;
}

/// A service that takes requests with a body of type `B`.
pub struct Serving<S, B>(S, std::marker::PhantomData<fn(B)>);

impl<S, B> Serving<S, B> {
    pub fn new(service: S) -> Self {
        Self(service, std::marker::PhantomData)
    }
}

impl<S, B, R> Target for Serving<S, B>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Default + 'static,
    R: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    fn send<'a>(
        &'a mut self,
        headers: &'a [HeaderValue],
        start: usize,
        count: usize,
    ) -> Pin<Box<dyn Future<Output = Statuses> + 'a>> {
        Box::pin(async move {
            let (mut good, mut others) = (0, Statuses::default());
            for header in headers
                .iter()
                .cycle()
                .skip(start % headers.len())
                .take(count)
            {
                let mut request = Request::new(B::default());
                request.headers_mut().insert(AUTHORIZATION, header.clone());
                let Ok(response) = self.0.call(request).await;
                let (head, mut body) = response.into_parts();
                while body.frame().await.is_some() {}
                match head.status {
                    StatusCode::OK => good += 1,
                    other => *others.0.entry(other).or_default() += 1,
                }
            }
            if good > 0 {
                others.0.insert(StatusCode::OK, good);
            }
            others
        })
    }

    #[cfg(feature = "peers")]
    fn serve(&self, listener: tokio::net::TcpListener) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        use hyper::{server::conn::http1, service::service_fn};
        use hyper_util::rt::TokioIo;

        Box::pin(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let service = self.0.clone();
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    service.clone().call(request.map(|_| B::default()))
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        })
    }
}

impl Statuses {
    /// Returns whether there were `count` responses, all with `status`.
    pub fn are_all(&self, status: StatusCode, count: usize) -> bool {
        self.0.len() == 1 && self.0.get(&status) == Some(&(count as u64))
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}
