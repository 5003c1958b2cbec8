//! A response body that a test scripts, frame by frame.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use tower_revoke_core::BoxError;

/// A response body that plays the steps of a script in order.
///
/// A script can end in an error, send trailers, wait for a [`Gate`], and misreport its size.
///
/// # Examples
/// ```
/// use http_body_util::BodyExt;
/// use tower_revoke_testing::ScriptedBody;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let body = ScriptedBody::new().data("hello ").data("world");
/// assert_eq!(body.collect().await.expect("whole").to_bytes(), "hello world");
/// # }
/// ```
#[derive(Debug)]
pub struct ScriptedBody {
    steps: VecDeque<Step>,
    hint: SizeHint,
    says_when_it_ends: bool,
    gone: Arc<watch::Sender<bool>>,
}

#[derive(Debug)]
enum Step {
    Frame(Frame<Bytes>),
    Fail,
    Wait(watch::Receiver<bool>, Option<Waiting>),
}

struct Waiting(Pin<Box<dyn Future<Output = ()> + Send>>);

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}

impl ScriptedBody {
    /// Creates an empty body without a size hint.
    pub fn new() -> Self {
        Self {
            steps: VecDeque::new(),
            hint: SizeHint::default(),
            says_when_it_ends: false,
            gone: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Adds a data frame.
    #[must_use]
    pub fn data(self, data: impl Into<Bytes>) -> Self {
        self.step(Step::Frame(Frame::data(data.into())))
    }

    /// Adds trailers.
    #[must_use]
    pub fn trailers(self, trailers: HeaderMap) -> Self {
        self.step(Step::Frame(Frame::trailers(trailers)))
    }

    /// Adds an error.
    #[must_use]
    pub fn fail(self) -> Self {
        self.step(Step::Fail)
    }

    /// Adds a wait for a gate: the body is pending until the gate is opened, or forever if the gate
    /// is dropped before.
    #[must_use]
    pub fn wait_for(self, gate: &Gate) -> Self {
        self.step(Step::Wait(gate.0.subscribe(), None))
    }

    /// Sets an exact size hint, which may be wrong. Data frames reduce it as they are read.
    #[must_use]
    pub fn hint(mut self, bytes: u64) -> Self {
        self.hint = SizeHint::with_exact(bytes);
        self
    }

    /// Makes `is_end_stream` return `true` once the last frame was read. By default it always
    /// returns `false`, which a body may do.
    #[must_use]
    pub fn says_when_it_ends(mut self) -> Self {
        self.says_when_it_ends = true;
        self
    }

    /// Returns a receiver that turns `true` when the body is dropped, at its end or before.
    pub fn gone(&self) -> watch::Receiver<bool> {
        self.gone.subscribe()
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }
}

impl Default for ScriptedBody {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for ScriptedBody {
    fn drop(&mut self) {
        self.gone.send_replace(true);
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Frame(frame)) => {
                    if let (Some(exact), Some(data)) = (self.hint.exact(), frame.data_ref()) {
                        self.hint = SizeHint::with_exact(exact.saturating_sub(data.len() as u64));
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Step::Fail) => {
                    return Poll::Ready(Some(Err("the body was told to fail".into())));
                }
                Some(Step::Wait(gate, waiting)) => {
                    let mut waiting = waiting.unwrap_or_else(|| Waiting(open(gate.clone())));
                    if waiting.0.as_mut().poll(cx).is_pending() {
                        self.steps.push_front(Step::Wait(gate, Some(waiting)));
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.says_when_it_ends && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

/// A gate that starts closed, for [`ScriptedBody::wait_for`]. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// Creates a closed gate.
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Opens the gate for good.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the gate is open.
    pub async fn passed(&self) {
        open(self.0.subscribe()).await;
    }
}

fn open(mut gate: watch::Receiver<bool>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if gate.wait_for(|open| *open).await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_body_waits_for_its_gate_and_reports_its_drop() {
        let gate = Gate::closed();
        let mut body = ScriptedBody::new().data("a").wait_for(&gate).data("b");
        let gone = body.gone();
        assert!(body.frame().await.is_some());
        assert!(tokio_test_pending(&mut body).await);
        gate.open();
        assert!(body.frame().await.is_some());
        assert!(body.frame().await.is_none());
        assert!(!*gone.borrow());
        drop(body);
        assert!(*gone.borrow());
    }

    async fn tokio_test_pending(body: &mut ScriptedBody) -> bool {
        std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx).is_pending()))
            .await
    }
}
