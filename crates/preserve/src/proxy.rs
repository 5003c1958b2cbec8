//! The inbound layer of a proxy.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, header::AUTHORIZATION};
use tower_layer::Layer;
use tower_revoke_core::{
    Reason, RejectionBody, RejectionFormat, RejectionFuture, end::RequestShape,
};
use tower_service::Service;

use crate::{OriginalAuthorization, connection};

/// [`PreserveAuthorizationLayer`](crate::PreserveAuthorizationLayer), for a proxy: a request whose
/// `Connection` names `Authorization` is refused with 400.
///
/// RFC 9110 §7.6.1 has a proxy remove what `Connection` names. A client that names `Authorization`
/// asks for its own credentials to be dropped between the proxy, which has checked them, and the
/// upstream, which then takes it for somebody else; and no sender may name a field that is meant
/// for all recipients.
#[derive(Clone, Debug, Default)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct PreserveForProxyLayer {
    format: Arc<RejectionFormat>,
}

impl PreserveForProxyLayer {
    /// How the refusal looks.
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
        if connection::names(request.headers(), &AUTHORIZATION) {
            let rejection = Reason::HopByHopAuthorization.into();
            let response = self.format.respond(rejection, RequestShape::of(&request));
            return RejectionFuture::rejected(response);
        }
        OriginalAuthorization::keep(&mut request);
        RejectionFuture::inner(self.inner.call(request))
    }
}
