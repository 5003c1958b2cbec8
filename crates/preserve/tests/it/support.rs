//! Servers and clients on loopback, for HTTP/1.1 and HTTP/2.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use hyper::body::{Body, Incoming};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::Service;

/// Returns a response with the headers of a request in its extensions, where no layer looks.
pub(crate) fn echoed<B>(request: &Request<B>) -> Response<()> {
    let mut response = Response::new(());
    response.extensions_mut().insert(request.headers().clone());
    response
}

/// Returns the headers of the request, from a response of [`echoed`].
pub(crate) fn received<B>(response: &Response<B>) -> HeaderMap {
    let headers = response.extensions().get();
    HeaderMap::clone(headers.expect("the request reached the upstream"))
}

/// A client for HTTP/1.1, or for HTTP/2 with prior knowledge.
pub(crate) fn client<B>(is_http2: bool) -> Client<HttpConnector, B>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    let mut builder = Client::builder(TokioExecutor::new());
    builder.http2_only(is_http2).build_http()
}

/// Serves HTTP/1.1 and HTTP/2 on a free port until the test's runtime ends.
pub(crate) async fn serve<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone,
    S: Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let http = auto::Builder::new(TokioExecutor::new());
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}
