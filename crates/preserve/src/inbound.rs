//! The inbound layer of a server.

use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use crate::{OriginalAuthorization, PreserveForProxyLayer};

/// Keeps the client's `Authorization` value as [`OriginalAuthorization`] in the request's
/// extensions, whatever inner layers do to the header.
///
/// It goes outside of all layers that may touch the header. Two `Authorization` headers are not kept;
/// the bearer layer rejects them. The header itself stays as it is.
///
/// On a server, a client's `Connection: authorization` changes nothing: RFC 9110 §7.6.1 is about what a
/// proxy forwards, and the header is meant for the server.
///
/// ```
/// use tower_revoke_preserve::PreserveAuthorizationLayer;
///
/// let server = PreserveAuthorizationLayer::new();
/// let proxy = PreserveAuthorizationLayer::new().for_proxy();
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct PreserveAuthorizationLayer {
    _private: (),
}

impl PreserveAuthorizationLayer {
    /// Makes the layer of a server, for which the client's credentials are meant.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the layer of a proxy, which forwards the credentials and rejects a `Connection` that names
    /// them.
    pub fn for_proxy(self) -> PreserveForProxyLayer {
        PreserveForProxyLayer::default()
    }
}

impl<S> Layer<S> for PreserveAuthorizationLayer {
    type Service = PreserveAuthorization<S>;

    fn layer(&self, inner: S) -> Self::Service {
        PreserveAuthorization { inner }
    }
}

/// The service of [`PreserveAuthorizationLayer`].
#[derive(Clone, Copy, Debug)]
pub struct PreserveAuthorization<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for PreserveAuthorization<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        OriginalAuthorization::keep(&mut request);
        self.inner.call(request)
    }
}
