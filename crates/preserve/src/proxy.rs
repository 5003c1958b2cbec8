//! The inbound layer of a proxy.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_layer::Layer;
use tower_revoke_core::{
    Reason, RejectionBody, RejectionFormat, RejectionFuture, end::RequestShape, internal::respond,
};
use tower_service::Service;

use crate::{OriginalAuthorization, connection};

/// [`PreserveAuthorizationLayer`](crate::PreserveAuthorizationLayer), for a proxy. It also keeps
/// `Connection` from removing what the proxy has checked or adds.
///
/// RFC 9110 §7.6.1 has a proxy remove what `Connection` names.
///
/// - A request whose `Connection` names `Authorization`, `Cookie`, `Host` or a field that begins with
///   `Content-` is rejected with 400. Its sender asks for the credentials to be dropped between the
///   proxy, which has checked them, and the upstream, which then takes the caller for somebody else;
///   and no sender may name a field that is meant for all recipients.
/// - Every other field that `Connection` names is removed here, and its name from `Connection`. So a
///   caller can't remove what the proxy adds further in, such as a header that says who calls.
/// - `Close`, `Keep-Alive`, `TE`, `Upgrade` and the like stay for the server and for
///   [`HopByHopLayer`](crate::HopByHopLayer).
#[derive(Clone, Debug, Default)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct PreserveForProxyLayer {
    format: Arc<RejectionFormat>,
}

impl PreserveForProxyLayer {
    /// How the rejection looks.
    pub fn rejection_format(self, format: RejectionFormat) -> Self {
        Self {
            format: Arc::new(format),
        }
    }
}

impl<S> Layer<S> for PreserveForProxyLayer {
    type Service = PreserveForProxy<S>;

    fn layer(&self, inner: S) -> Self::Service {
        PreserveForProxy {
            inner,
            format: self.format.clone(),
        }
    }
}

/// The service of [`PreserveForProxyLayer`].
#[derive(Clone, Debug)]
pub struct PreserveForProxy<S> {
    inner: S,
    format: Arc<RejectionFormat>,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for PreserveForProxy<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<RejectionBody<ResBody>>;
    type Error = S::Error;
    type Future = RejectionFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        if connection::names_end_to_end(request.headers()) {
            let rejection = Reason::NamedInConnection.into();
            let response = respond(&self.format, rejection, RequestShape::of(&request));
            return RejectionFuture::rejected(response);
        }
        connection::remove_named(request.headers_mut());
        OriginalAuthorization::keep(&mut request);
        RejectionFuture::inner(self.inner.call(request))
    }
}
