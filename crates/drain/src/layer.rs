//! The layer and its limits.

use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use crate::{DrainUpload, budget::Budget};

/// Holds an early response to an upload over HTTP/2 until the rest of the upload is read and dropped,
/// so that clients that give up at a reset stream read it too.
///
/// A response is early if the inner service drops the request's body before its end. It is held
/// whatever its status: a 401 of a bearer layer, a 413 of a body limit, the 200 of a handler that does
/// not read the body. A response to a body that the inner service has read, or still holds (an echo, a
/// proxy), is sent at once.
///
/// Put it outermost. Layers further out see the response after the upload.
///
/// # Examples
/// ```
/// use tower_revoke_drain::DrainUploadLayer;
///
/// let layer = DrainUploadLayer::new().max_bytes(16 << 20).capacity(256 << 20);
/// ```
///
/// # What is held
///
/// | request | response |
/// |---|---|
/// | HTTP/2 or later, `Content-Length` within [`max_bytes`](Self::max_bytes) | held, for at most [`timeout`](Self::timeout) |
/// | HTTP/1.1, which has no reset | at once |
/// | no `Content-Length`, or a larger one | at once |
/// | `Expect`: the client waits for the response before it sends | at once |
/// | gRPC, whose clients read a status that comes early | at once |
/// | any, while uploads of [`capacity`](Self::capacity) bytes are drained | at once |
///
/// "At once" is what happens without this layer.
///
/// # What it costs
///
/// Bandwidth: rejected callers can make the server receive what they announced, up to `max_bytes` per
/// request. Nothing is kept in memory besides HTTP/2's own window, and no permit of an inner service is
/// held meanwhile. A rejected caller waits for the response until its upload has ended. A request that
/// may be held costs two small allocations, any other none.
///
/// Clones share one capacity. It needs tokio's timer.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct DrainUploadLayer {
    pub(crate) max_bytes: u64,
    pub(crate) timeout: Duration,
    pub(crate) budget: Arc<Budget>,
}

impl DrainUploadLayer {
    /// Drains uploads of up to 8 MiB, 64 MiB at once, each for up to 10 s.
    pub fn new() -> Self {
        Self {
            max_bytes: 8 << 20,
            timeout: Duration::from_secs(10),
            budget: Budget::new(64 << 20),
        }
    }

    /// Sets the largest `Content-Length` of an upload that is drained. Defaults to 8 MiB.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets how many bytes may be drained at once: the sum of what the uploads had still to send when
    /// their responses came. Clones made afterwards share it. Defaults to 64 MiB.
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.budget = Budget::new(bytes);
        self
    }

    /// Sets how long a response is held at most, for a client that stalls. Defaults to 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Default for DrainUploadLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for DrainUploadLayer {
    type Service = DrainUpload<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DrainUpload::new(inner, self.clone())
    }
}
