//! The handle by which calls become parts of a composite.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use http::{Extensions, Request};

use crate::scope::{Part, Scope};

/// A handle of one call of a composite, to which the calls that it causes are attached: its *parts*.
///
/// The layer of [`Monitor::composite`](crate::Monitor::composite) puts it into the extensions of each
/// request. A [`MonitorLayer`](crate::MonitorLayer) further in finds it there by itself, and so does
/// one that gets the same request on its way through a proxy. A request of a handler's own is a new
/// one, and has to be attached:
///
/// ```
/// use http::{Request, Response};
/// use tower::{BoxError, ServiceExt, util::BoxCloneService};
/// use tower_revoke_monitor::Composite;
///
/// /// A client with a layer of `Monitor::upstream`.
/// type Client = BoxCloneService<Request<String>, Response<String>, BoxError>;
///
/// async fn check_out(
///     composite: Composite,
///     stock: Client,
///     mail: Client,
/// ) -> Result<Response<String>, BoxError> {
///     let mut receipt = Request::new(String::from("thank you"));
///     // The call may fail: it is no part.
///     composite.best_effort().attach(&mut receipt);
///     tokio::spawn(mail.oneshot(receipt));
///
///     let mut order = Request::new(String::from("coffee"));
///     composite.attach(&mut order);
///     stock.oneshot(order).await
/// }
/// ```
///
/// # As what a composite is counted
/// The call is judged once, when its own response has ended and no part is open. The worst decides:
/// exception, failure, cancelled, success.
///
/// | own call | parts | the composite is counted as |
/// |---|---|---|
/// | success | none, or all success | success |
/// | success | one failure | failure |
/// | success | a failure and an exception | exception |
/// | 4xx | all success | failure |
/// | 5xx, error, panic | any | exception |
/// | rejected by a layer of ours | none | rejected |
/// | any | one rejected | failure, unless exception |
/// | success | dropped: the loser of a select, a time-out | cancelled |
/// | success | [best-effort](Self::best_effort), whatever their outcome | success |
/// | the client left | success | cancelled |
/// | the client left | exception | exception |
/// | success | open for longer than [`part_timeout`](crate::MonitorBuilder::part_timeout) | cancelled |
/// | success | exception, then success: the monitor is inside of a retry | exception |
/// | success | the same: the monitor is outside of the retry | success |
/// | success | a nested composite that failed | failure |
///
/// An own call that is rejected after parts have succeeded or were dropped stays rejected. Latency, bytes,
/// client and method are those of the own call. Parts that end after the composite was judged count for
/// their services, and as [`late`](crate::ServiceSnapshot::late). While services or upstreams are
/// [switched off](crate::Monitor::count), their calls are parts all the same.
///
/// # Without a composite
/// The [default](Self::default) belongs to no composite: what is attached to it is no part of any. It
/// is in the requests while composites are [switched off](crate::Counted::Composites), and serves tests
/// of handlers.
#[derive(Clone, Default)]
pub struct Composite {
    scope: Option<Arc<Scope>>,
    /// The part of the request that this handle was attached to, until a layer takes it.
    reserved: Option<Arc<Mutex<Option<Part>>>>,
}

impl Composite {
    pub(crate) fn of(scope: Arc<Scope>) -> Self {
        let scope = Some(scope);
        Self {
            scope,
            reserved: None,
        }
    }

    /// Makes the call of this request a part of the composite. Any handle that was attached to it
    /// before is replaced.
    ///
    /// The part is open from now on, so a request that is attached before a task is spawned for it is
    /// waited for. It ends with the call, as a [`MonitorLayer`](crate::MonitorLayer) around the client
    /// sees it; if the request is dropped without such a call, it ends as cancelled. Further calls with
    /// clones of the request, such as those of a retry, are parts of their own.
    pub fn attach<B>(&self, request: &mut Request<B>) {
        let reserved = self.scope.as_ref().map(Part::open);
        let attached = Self {
            scope: self.scope.clone(),
            reserved: reserved.map(|part| Arc::new(Mutex::new(Some(part)))),
        };
        if let Some(before) = request.extensions_mut().insert(attached)
            && let Some(part) = before.take_reserved()
        {
            part.withdraw();
        }
    }

    /// Returns a handle for calls that may fail: it makes them parts of no composite.
    #[must_use]
    pub fn best_effort(&self) -> Self {
        Self::default()
    }

    /// Returns the part of the call of a request with this handle.
    fn join(&self) -> Option<Part> {
        let scope = self.scope.as_ref()?;
        Some(self.take_reserved().unwrap_or_else(|| Part::open(scope)))
    }

    fn take_reserved(&self) -> Option<Part> {
        let reserved = self.reserved.as_ref()?.lock();
        reserved.unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Composite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Composite")
            .field("is_none", &self.scope.is_none())
            .finish_non_exhaustive()
    }
}

/// Whether this program has composites. If not, no request is searched for a handle.
static EXIST: AtomicBool = AtomicBool::new(false);

pub(crate) fn exist() -> bool {
    EXIST.load(Relaxed)
}

pub(crate) fn will_exist() {
    EXIST.store(true, Relaxed);
}

/// Returns the part of the call of this request. `None` if it belongs to no composite.
pub(crate) fn join(extensions: &Extensions) -> Option<Part> {
    extensions.get::<Composite>()?.join()
}
