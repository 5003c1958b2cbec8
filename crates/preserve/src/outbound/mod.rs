//! The outbound layer: what an upstream gets of the caller's credentials.

mod action;
mod body;
mod callers;
mod cookies;
mod error;
mod service;
mod upstream;

use std::sync::Arc;

use http::HeaderName;
use tower_layer::Layer;

use self::{action::Action, upstream::Upstream};
pub use self::{
    action::Outbound, body::OutboundBody, error::ConfigError, service::OutboundAuthorization,
};

/// Decides by upstream what becomes of the `Authorization` header. Upstreams that are not named get
/// none.
///
/// It goes around the client, next to the connection: inside of layers that follow redirects, retry or
/// change the URI, so that it sees where each request really goes.
///
/// # The upstream
///
/// The upstream is the host and port of the request's URI, and not its `Host` header, which may be the
/// caller's, who must not choose where credentials go. A URI without a host matches no upstream. The
/// host must be the named one, without regard to case; user information in a URI is no part of it. The
/// port must be the named one; where none is named, it must be the default of the URI's scheme, 80 or
/// 443. Of two that match, such as `host` and `host:80`, the first that was named counts.
///
/// # What never leaves
///
/// - `Authorization`, to an upstream that is not named. There is no way to keep it for all.
/// - A header into which the credentials are [renamed](Outbound::rename), if a client sent it: it is
///   dropped for every upstream, so that nobody can forge it (RFC 9700 §4.13).
/// - `Proxy-Authorization`: it is for the first proxy that asks for it, which is this one (RFC 9110
///   §11.7.2). A next proxy's credentials are set further in, by the connector.
/// - `Host`, unless the upstream is to [keep](Outbound::keep_host) it: a caller must not choose which
///   virtual host gets the credentials. The client makes it of the URI, as hyper-util's does for
///   HTTP/1 and as `:authority` for HTTP/2. A client that doesn't, such as a bare connection of
///   hyper's, must be given it further in.
/// - The cookies from which the bearer layers that the request came through read
///   tokens, also if the token came elsewhere, and those of [`token_cookie`](Self::token_cookie). All
///   other cookies stay byte for byte.
/// - What else an upstream believes of its proxy (RFC 9700 §4.13): `Forwarded`, `X-Forwarded-*`,
///   `X-Original-*`, `X-Rewrite-*`, `X-Host`, `X-HTTP-Host-Override`, `X-Real-IP`, `X-Client-IP`,
///   `X-Cluster-Client-IP`, `True-Client-IP`, `Client-Cert` and `Client-Cert-Chain` (RFC 9440 §4), and
///   `Proxy`, of which CGI makes `HTTP_PROXY`. Set your own further in:
///
/// ```
/// use http::Request;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::{Service, ServiceBuilder};
/// use tower_revoke_preserve::OutboundAuthorizationLayer;
///
/// # type Body = http_body_util::Empty<bytes::Bytes>;
/// fn client(outbound: OutboundAuthorizationLayer) -> impl Service<Request<Body>> {
///     ServiceBuilder::new()
///         .layer(outbound)
///         .map_request(|mut request: Request<_>| {
///             let https = http::HeaderValue::from_static("https");
///             request.headers_mut().insert("x-forwarded-proto", https);
///             request
///         })
///         .service(Client::builder(TokioExecutor::new()).build_http())
/// }
/// ```
///
/// With each of them goes every name that CGI, WSGI or Rack could take for it: `X_Forwarded_For` is
/// `X-Forwarded-For` there. None of them passes in a trailer either; the client gets the body as an
/// [`OutboundBody`].
///
/// # Forbidden forwarding
///
/// A request through a bearer layer with `forbid_forwarding` to an upstream that would get its
/// credentials, by [`Outbound::keep`] or [`Outbound::rename`], is rejected with 500. It need not have
/// any, so that the mistake shows at the first request.
///
/// What a request's `Connection` names is left to [`HopByHopLayer`](crate::HopByHopLayer), further
/// out.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct OutboundAuthorizationLayer {
    rules: Arc<Rules>,
}

#[derive(Clone, Debug, Default)]
struct Rules {
    upstreams: Vec<(Upstream, Outbound)>,
    /// Names into which some upstream's credentials are renamed.
    renamed: Vec<HeaderName>,
    /// Cookies that may hold a token, beside those that bearer layers read.
    cookies: Vec<Box<str>>,
}

impl OutboundAuthorizationLayer {
    /// Strips the header for every upstream that is not named with [`upstream`](Self::upstream).
    pub fn strip() -> Self {
        Self {
            rules: Arc::default(),
        }
    }

    /// Sets what an upstream gets, which is named as `host` or `host:port`.
    ///
    /// # Errors
    /// [`ConfigError::InvalidUpstream`] if `upstream` is not a host with or without a port,
    /// [`ConfigError::UpstreamNamedTwice`], and [`ConfigError::HostBesideOwnCredentials`] if the upstream
    /// would get both the caller's `Host` and the proxy's own credentials.
    pub fn upstream(mut self, upstream: &str, outbound: Outbound) -> Result<Self, ConfigError> {
        let named = Upstream::parse(upstream)?;
        let rules = Arc::make_mut(&mut self.rules);
        if rules.upstreams.iter().any(|(other, _)| *other == named) {
            return Err(ConfigError::UpstreamNamedTwice(upstream.to_owned()));
        }
        if outbound.keeps_host && matches!(outbound.action, Action::Replace(_)) {
            return Err(ConfigError::HostBesideOwnCredentials(upstream.to_owned()));
        }
        if let Action::Rename(name) = &outbound.action {
            rules.renamed.push(name.clone());
        }
        rules.upstreams.push((named, outbound));
        Ok(self)
    }

    /// Removes the cookie of this name from every request. Set it where a request may come without
    /// passing the bearer layer that reads the cookie, as on public routes: a browser sends the cookie
    /// to them too.
    ///
    /// ```
    /// use tower_revoke_preserve::OutboundAuthorizationLayer;
    ///
    /// let outbound = OutboundAuthorizationLayer::strip().token_cookie("session");
    /// ```
    pub fn token_cookie(mut self, name: &str) -> Self {
        let rules = Arc::make_mut(&mut self.rules);
        rules.cookies.push(name.into());
        self
    }
}

impl<S> Layer<S> for OutboundAuthorizationLayer {
    type Service = OutboundAuthorization<S>;

    fn layer(&self, inner: S) -> Self::Service {
        OutboundAuthorization::new(inner, self.rules.clone())
    }
}
