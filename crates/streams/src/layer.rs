//! The layer and its settings.

use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use crate::{
    RequestBodyLifetimeLayer, TokenLifetimeService,
    settings::{EventName, Settings},
};

/// Ends live responses when their token ends, and makes sure that upgrades do too.
///
/// A token is checked when its call begins. A response may go on for hours: an event stream, a
/// download, a gRPC stream. This layer ends it as soon as this node knows that the token is revoked,
/// and when the token expires. It begins after the head and never cancels a handler.
///
/// Put it inside of `RequireBearerLayer` and of the layers that spend. It watches nothing in a request
/// without a token, as behind an optional bearer layer, and nothing in a body that is complete with its
/// first frame.
///
/// A token that is [spent](tower_revoke_core::TokenStatus::Spent) has not ended: of three uses, the third call doesn't cut off the
/// first two, and a response isn't cut off by the revocation that follows it.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use tower_revoke_streams::TokenLifetimeLayer;
///
/// let layer = TokenLifetimeLayer::new()
///     .revocation_grace(Duration::from_secs(2))
///     .end_event("token-ended")
///     .before_expiry(Duration::from_secs(60), "token-expires");
/// ```
///
/// # How each body ends
///
/// | body | its end |
/// |---|---|
/// | HTTP/1.1, chunked or with a length | an error: the connection closes without the rest |
/// | HTTP/1.0 | would look complete: the request is rejected with 505, unless [allowed](Self::allow_http_10) |
/// | HTTP/2 and later | the stream is reset, by hyper with `CANCEL` |
/// | `text/event-stream` | cleanly after an event, and after the [named one](Self::end_event). `EventSource` connects again, gets 401 and stops |
/// | gRPC | trailers after a message: `grpc-status` 16, or 14 if the status of the token is unknown |
/// | 101, and 2xx to `CONNECT` | the handler's: see [`TokenLifetime`](crate::TokenLifetime) |
/// | request bodies | not at all, unless in a [layer of their own](Self::request_bodies) |
///
/// An event or a message that has begun may take 1 s to its end. What has no end by then is cut off with
/// an error. Nothing is added to events with a `Content-Encoding` or a `Content-Length`. grpc-web
/// bodies are cut off with an error.
///
/// An upgrade whose [`TokenLifetime`](crate::TokenLifetime) was not taken is answered with 500 instead,
/// and the log says what is missing.
///
/// # What a client may still receive
///
/// No frame is produced after the end. What was produced before may still be in buffers of the server
/// and of the network. A server asks a body for nothing while the client doesn't read, so a stalled
/// connection stays open; limit the time that a write may stall on the connection.
///
/// # When the status is unknown
///
/// Streams outlive an outage of the store by [`unknown_timeout`](Self::unknown_timeout), and by up to 10 s more by chance, so
/// that not all of them reconnect at once.
#[derive(Clone, Debug, Default)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct TokenLifetimeLayer {
    settings: Arc<Settings>,
}

impl TokenLifetimeLayer {
    /// Ends streams as soon as their token is revoked or has expired.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(Arc::make_mut(&mut self.settings));
        self
    }

    /// Sets how long a stream continues while the list can't say whether its token is valid.
    /// Up to 10 s are added by chance. Defaults to 60 s.
    pub fn unknown_timeout(self, timeout: Duration) -> Self {
        self.with(|settings| settings.unknown_timeout = Some(timeout))
    }

    /// Keeps streams while the list can't say whether their token is valid. They end
    /// once the list says that it isn't.
    pub fn keep_while_unknown(self) -> Self {
        self.with(|settings| settings.unknown_timeout = None)
    }

    /// Sets how long a stream continues after its token was revoked. If the revocation is lifted
    /// meanwhile, the stream doesn't end. Defaults to zero.
    pub fn revocation_grace(self, grace: Duration) -> Self {
        self.with(|settings| settings.revocation_grace = grace)
    }

    /// Sets how long a stream continues after its token has expired, beyond the leeway of the
    /// verifier. Defaults to zero.
    pub fn expiry_grace(self, grace: Duration) -> Self {
        self.with(|settings| settings.expiry_grace = grace)
    }

    /// Ends `text/event-stream` with an event of this name. Its data is the reason: `revoked`,
    /// `expired` or `unavailable`. None by default.
    pub fn end_event(self, name: &str) -> Self {
        self.with(|settings| settings.end_event = Some(EventName::new(name)))
    }

    /// Sends an event of this name in `text/event-stream` so long before the token expires, so that the
    /// client can get another one. Its data is that time in seconds. None by default.
    pub fn before_expiry(self, before: Duration, name: &str) -> Self {
        self.with(|settings| settings.before_expiry = Some((before, EventName::new(name))))
    }

    /// Allows requests over HTTP/1.0, whose clients can't tell a response that is cut off from one that
    /// is complete.
    pub fn allow_http_10(self) -> Self {
        self.with(|settings| settings.allows_http_10 = true)
    }

    /// Returns a layer that ends request bodies too, with the same settings.
    pub fn request_bodies(&self) -> RequestBodyLifetimeLayer {
        RequestBodyLifetimeLayer::new(self.settings.clone())
    }
}

impl<S> Layer<S> for TokenLifetimeLayer {
    type Service = TokenLifetimeService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TokenLifetimeService::new(inner, self.settings.clone())
    }
}
