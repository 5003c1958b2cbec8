//! The inbound layer of a proxy.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower_layer::Layer;
use tower_revoke_core::{
    Reason, RejectionFormat,
    end::RequestShape,
    internal::{Filter, Predicate, respond},
};

use crate::{OriginalAuthorization, connection};

/// [`PreserveAuthorizationLayer`](crate::PreserveAuthorizationLayer), for a proxy. It also keeps
/// `Connection` from removing what the proxy has checked or adds: RFC 9110 §7.6.1 has a proxy remove the
/// fields that `Connection` names.
///
/// - A request whose `Connection` names `Authorization`, `Cookie`, `Host` or a field that begins with
///   `Content-` is rejected with 400. With such a request the credentials would be dropped between
///   the proxy, which has checked them, and the upstream, which then takes the caller for somebody
///   else; and no sender may name a field that is meant for all recipients.
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
    /// Sets the format of the rejection.
    pub fn rejection_format(self, format: RejectionFormat) -> Self {
        Self {
            format: Arc::new(format),
        }
    }
}

impl Predicate for PreserveForProxyLayer {
    fn reject<B>(&self, request: &mut Request<B>) -> Option<Response<Full<Bytes>>> {
        if connection::names_end_to_end(request.headers()) {
            let rejection = Reason::NamedInConnection.into();
            return Some(respond(&self.format, rejection, RequestShape::of(request)));
        }
        connection::remove_named(request.headers_mut());
        OriginalAuthorization::keep(request);
        None
    }
}

/// The service of [`PreserveForProxyLayer`].
pub type PreserveForProxy<S> = Filter<S, PreserveForProxyLayer>;

impl<S> Layer<S> for PreserveForProxyLayer {
    type Service = PreserveForProxy<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Filter::new(inner, self.clone())
    }
}
