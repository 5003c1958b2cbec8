//! The layer that ends what belongs to one connection.

mod fields;
mod service;

use std::sync::Arc;

use tower_layer::Layer;

pub use self::service::{HopByHop, HopByHopFuture};
use crate::ConfigError;

/// Takes off what belongs to one connection before a message goes to the next one (RFC 9110 §7.6):
/// requests on their way to the upstream, responses on their way back.
///
/// It stands around the client of a proxy, and outside of
/// [`OutboundAuthorizationLayer`](crate::OutboundAuthorizationLayer): what that one puts on can't be
/// named by a caller's `Connection`.
///
/// # Requests and responses
/// - `Connection`, and each field that it names, are removed. So are `Keep-Alive`, `TE`,
///   `Transfer-Encoding`, `Upgrade`, `HTTP2-Settings` and what starts with `Proxy-`, named or not.
/// - What CGI, WSGI or Rack take for one of these or for `Content-Length`, as `Transfer_Encoding`, is
///   removed.
/// - With a `Transfer-Encoding` goes the `Content-Length` that came beside it (RFC 9112 §6.3).
/// - `Via` is added, and the version is HTTP/1.1: a proxy speaks for itself (RFC 9110 §6.2).
/// - `Trailer` stays, since clients and servers need it to hand trailers on.
///
/// # Requests
/// - `TE: trailers` is set again if the caller sent it.
/// - `Upgrade` is set again for a WebSocket handshake over HTTP/1.1 without a body, and for nothing
///   else: through another protocol, such as `h2c`, a caller would reach the upstream past
///   all layers.
/// - `Expect` is removed: the server of the proxy answers it.
/// - The `Cookie` lines of HTTP/2 become one (RFC 9113 §8.2.3).
/// - A body of unknown length is sent in chunks, also with GET, where hyper's client would leave it
///   out.
///
/// # Responses
/// - A 101 that was not asked for, or to another protocol, becomes a 502 without extensions, so that
///   there is nothing to upgrade. A proxy may join the two connections when it gets a 101.
///
/// ```
/// use tower_revoke_preserve::HopByHopLayer;
///
/// let layer = HopByHopLayer::via("edge")?;
/// assert!(HopByHopLayer::via("two words").is_err());
/// # Ok::<(), tower_revoke_preserve::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct HopByHopLayer {
    /// The proxy's name in `Via`.
    name: Arc<str>,
}

impl HopByHopLayer {
    /// Adds itself to `Via` under this name: a host, with or without a port, or a pseudonym
    /// (RFC 9110 §7.6.3).
    ///
    /// # Errors
    /// [`ConfigError::InvalidPseudonym`] if it is neither.
    pub fn via(name: &str) -> Result<Self, ConfigError> {
        match fields::is_pseudonym(name) {
            true => Ok(Self { name: name.into() }),
            false => Err(ConfigError::InvalidPseudonym(name.to_owned())),
        }
    }
}

impl<S> Layer<S> for HopByHopLayer {
    type Service = HopByHop<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HopByHop::new(inner, self.name.clone())
    }
}
