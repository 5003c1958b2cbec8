//! The handle from which layers are made and counts are read.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tower_revoke_core::{Clock, HealthCheck, HealthSource};

use crate::{
    History, MonitorLayer, ServiceHistory, Snapshot, Usage, composite, context::Context,
    history::STEPS, scope::Waiting, series::Labels,
};

/// The counts of one or several services. Clones share them.
///
/// ```
/// use tower_revoke_monitor::Monitor;
///
/// let monitor = Monitor::new();
/// let orders = monitor.layer("orders");
/// let invoices = monitor.layer("invoices");
/// // … later, perhaps in another task …
/// for (name, service) in &monitor.snapshot().services {
///     println!("{name}: {} calls, {} now", service.total.calls(), service.total.in_flight);
/// }
/// ```
#[derive(Clone)]
pub struct Monitor(Arc<Shared>);

struct Shared {
    settings: MonitorBuilder,
    contexts: Mutex<Contexts>,
    /// In the order of [`Counted`].
    is_counted: [AtomicBool; 5],
    /// The calls of composites that wait for their parts.
    waiting: Waiting,
    health: Mutex<Vec<Arc<dyn HealthSource>>>,
}

type Contexts = BTreeMap<(Kind, Arc<str>), Arc<Context>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Service,
    Upstream,
    Composite,
}

impl Kind {
    /// Returns the label of its name in metrics.
    fn label(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Upstream => "upstream",
            Self::Composite => "composite",
        }
    }
}

/// What a [`Monitor`] counts or not, see [`Monitor::count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Counted {
    /// Calls of services.
    Services,
    /// Calls of upstreams.
    Upstreams,
    /// Calls of composites.
    Composites,
    /// The clients of each service, upstream and composite.
    Clients,
    /// The methods of each service, upstream and composite.
    Methods,
}

impl Monitor {
    /// Makes a monitor with the default settings.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder for other settings.
    pub fn builder() -> MonitorBuilder {
        MonitorBuilder {
            clock: Clock::system(),
            client_capacity: 10_000,
            method_capacity: 100,
            part_timeout: Duration::from_secs(30),
            labels: Labels::default(),
        }
    }

    /// Returns a layer that counts the calls of the service of this name. Layers of the same name count
    /// together.
    pub fn layer(&self, service: impl Into<Arc<str>>) -> MonitorLayer {
        self.layer_of(Kind::Service, service.into(), Counted::Services)
    }

    /// Returns a layer that counts the calls to an upstream. It goes around the client that sends them,
    /// so that you see which side is slow.
    ///
    /// ```
    /// # use tower::{Layer, service_fn};
    /// # type Empty = http_body_util::Empty<bytes::Bytes>;
    /// # let client = service_fn(|_: http::Request<Empty>| async {
    /// #     Ok::<_, std::convert::Infallible>(http::Response::new(Empty::new()))
    /// # });
    /// use tower_revoke_monitor::Monitor;
    ///
    /// let monitor = Monitor::new();
    /// let stock = monitor.upstream("stock").layer(client);
    /// assert!(monitor.snapshot().upstreams.contains_key("stock"));
    /// ```
    pub fn upstream(&self, name: impl Into<Arc<str>>) -> MonitorLayer {
        self.layer_of(Kind::Upstream, name.into(), Counted::Upstreams)
    }

    /// Returns a layer that counts several services as one, in addition to their own counts. It goes
    /// around what calls them, such as a router, a proxy or a handler. A call of a composite succeeds only
    /// if all of its parts do: see [composites](crate#composites), and [`Composite`](crate::Composite)
    /// for how calls become parts.
    ///
    /// ```
    /// # extern crate axum_08 as axum;
    /// use axum::{Extension, Router, routing::post};
    /// use tower_revoke_monitor::{Composite, Monitor};
    ///
    /// async fn check_out(Extension(composite): Extension<Composite>) {
    ///     // … attaches its requests to other services …
    /// }
    ///
    /// let monitor = Monitor::new();
    /// let router: Router = Router::new()
    ///     .route("/checkout", post(check_out))
    ///     .layer(monitor.composite("checkout"));
    /// assert!(monitor.snapshot().composites.contains_key("checkout"));
    /// ```
    pub fn composite(&self, name: impl Into<Arc<str>>) -> MonitorLayer {
        composite::will_exist();
        self.layer_of(Kind::Composite, name.into(), Counted::Composites)
    }

    fn layer_of(&self, kind: Kind, name: Arc<str>, counted: Counted) -> MonitorLayer {
        let mut contexts = self.contexts();
        let context = contexts
            .entry((kind, name))
            .or_insert_with_key(|(kind, name)| {
                let settings = &self.0.settings;
                let series = settings.labels.of(kind.label(), name);
                let (clients, methods) = (settings.client_capacity, settings.method_capacity);
                Arc::new(Context::new(series, clients, methods))
            });
        MonitorLayer::of(self.clone(), context.clone(), counted)
    }

    /// Switches a part of the counting on or off, for all services, upstreams and composites, while they run. All is
    /// on at first. What has been counted stays, and a call that has begun is counted to its end. Without
    /// clients or methods, calls are counted as [`other`](crate::ServiceSnapshot::other) or
    /// [`other_methods`](crate::ServiceSnapshot::other_methods).
    ///
    /// ```
    /// use tower_revoke_monitor::{Counted, Monitor};
    ///
    /// let monitor = Monitor::new();
    /// monitor.count(Counted::Clients, false);
    /// assert!(!monitor.counts(Counted::Clients));
    /// ```
    pub fn count(&self, what: Counted, is_on: bool) {
        self.switch(what).store(is_on, Relaxed);
    }

    /// Returns whether it is switched on.
    pub fn counts(&self, what: Counted) -> bool {
        self.switch(what).load(Relaxed)
    }

    fn switch(&self, what: Counted) -> &AtomicBool {
        let [services, upstreams, composites, clients, methods] = &self.0.is_counted;
        match what {
            Counted::Services => services,
            Counted::Upstreams => upstreams,
            Counted::Composites => composites,
            Counted::Clients => clients,
            Counted::Methods => methods,
        }
    }

    /// Adds a source of health checks that operators see: a `RevocationList`, a `JwtVerifier` whose keys
    /// are fetched, a `RevocationClient`, or one of the program's own.
    ///
    /// ```
    /// use tower_revoke_core::{HealthCheck, HealthSource, HealthStatus};
    /// use tower_revoke_monitor::Monitor;
    ///
    /// struct Billing;
    ///
    /// impl HealthSource for Billing {
    ///     fn health(&self) -> Vec<HealthCheck> {
    ///         vec![HealthCheck::new("billing", HealthStatus::Pass, "connected")]
    ///     }
    /// }
    ///
    /// let monitor = Monitor::new();
    /// monitor.add_health(Billing);
    /// assert_eq!(monitor.health()[0].output, "connected");
    /// ```
    pub fn add_health(&self, source: impl HealthSource + 'static) {
        self.health_sources().push(Arc::new(source));
    }

    /// Returns the checks of all sources that were added, in their order.
    pub fn health(&self) -> Vec<HealthCheck> {
        let sources = self.health_sources().clone();
        sources.iter().flat_map(|source| source.health()).collect()
    }

    /// Returns the counts at this moment, see [`Snapshot`].
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_of(|_| true)
    }

    /// Returns the counts of those whose names are `asked` for.
    pub(crate) fn snapshot_of(&self, asked: impl Fn(&str) -> bool) -> Snapshot {
        let mut snapshot = Snapshot::default();
        self.waiting().judge_overdue(self.clock().uptime());
        let mut contexts = self.contexts().clone();
        contexts.retain(|(_, name), _| asked(name));
        for ((kind, name), context) in contexts {
            let all = match kind {
                Kind::Service => &mut snapshot.services,
                Kind::Upstream => &mut snapshot.upstreams,
                Kind::Composite => &mut snapshot.composites,
            };
            all.insert(name, context.snapshot());
        }
        snapshot
    }

    /// Returns what was counted within the last `span`, at most an hour, in steps of five seconds. The
    /// step that has not ended yet is left out.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_revoke_monitor::Monitor;
    ///
    /// let monitor = Monitor::new();
    /// let orders = monitor.layer("orders");
    /// let history = monitor.history(Duration::from_secs(60));
    /// let minute = &history.services["orders"].all.total;
    /// println!("{} calls in {} s, p99 {:?}", minute.calls(), minute.seconds, minute.p99);
    /// ```
    pub fn history(&self, span: Duration) -> History {
        let steps = usize::try_from(STEPS).unwrap_or(usize::MAX);
        self.history_of(|_| true, span, steps, steps)
    }

    /// Returns the history of those whose names are `asked` for, with about so many `steps` of each, and of
    /// each of its methods.
    pub(crate) fn history_of(
        &self,
        asked: impl Fn(&str) -> bool,
        span: Duration,
        steps: usize,
        steps_of_methods: usize,
    ) -> History {
        let mut history = History::default();
        let clock = self.clock();
        self.waiting().judge_overdue(clock.uptime());
        let mut contexts = self.contexts().clone();
        contexts.retain(|(_, name), _| asked(name));
        for ((kind, name), context) in contexts {
            let all = match kind {
                Kind::Service => &mut history.services,
                Kind::Upstream => &mut history.upstreams,
                Kind::Composite => &mut history.composites,
            };
            let service: &mut ServiceHistory = all.entry(name).or_default();
            context.visit_past(clock.uptime(), |method, past| {
                let steps = method.map_or(steps, |_| steps_of_methods);
                let spans = past.spans(clock, span, steps);
                match method {
                    None => service.all = spans,
                    Some("") => service.other_methods = spans,
                    Some(name) => drop(service.methods.insert(Arc::from(name), spans)),
                }
            });
        }
        history
    }

    /// Adds the minutes of the clients that are in it.
    pub(crate) fn add_minutes(&self, usage: &mut Usage, span: Duration) {
        let contexts = self.contexts().clone();
        for (kind, all) in [
            (Kind::Service, &mut usage.services),
            (Kind::Upstream, &mut usage.upstreams),
            (Kind::Composite, &mut usage.composites),
        ] {
            for one in all {
                if let Some(context) = contexts.get(&(kind, one.name.clone())) {
                    let clients = &context.clients;
                    clients.add_minutes(&mut one.clients, self.clock(), span);
                }
            }
        }
    }

    /// A panic can't leave the map half changed.
    fn contexts(&self) -> MutexGuard<'_, Contexts> {
        let contexts = self.0.contexts.lock();
        contexts.unwrap_or_else(PoisonError::into_inner)
    }

    fn health_sources(&self) -> MutexGuard<'_, Vec<Arc<dyn HealthSource>>> {
        self.0.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.settings.clock
    }

    pub(crate) fn part_timeout(&self) -> Duration {
        self.0.settings.part_timeout
    }

    pub(crate) fn waiting(&self) -> &Waiting {
        &self.0.waiting
    }
}

impl Default for Monitor {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("client_capacity", &self.0.settings.client_capacity)
            .finish_non_exhaustive()
    }
}

/// The settings of a [`Monitor`].
///
/// ```
/// use tower_revoke_monitor::Monitor;
///
/// let monitor = Monitor::builder().client_capacity(500).build();
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct MonitorBuilder {
    clock: Clock,
    client_capacity: usize,
    method_capacity: usize,
    part_timeout: Duration,
    labels: Labels,
}

impl MonitorBuilder {
    /// Sets how many clients of a service have counts of their own, about 0.5 KiB each. With 0 all
    /// verified clients are counted as [`other`](crate::ServiceSnapshot::other). Defaults to 10,000.
    pub fn client_capacity(mut self, clients: usize) -> Self {
        self.client_capacity = clients;
        self
    }

    /// Sets how many methods of a service are counted by themselves. The first ones stay; further ones are
    /// counted as [`other_methods`](crate::ServiceSnapshot::other_methods). Each takes about 4 KiB, and
    /// up to 200 KiB if it was called all through the last hour. Defaults to 100.
    pub fn method_capacity(mut self, methods: usize) -> Self {
        self.method_capacity = methods;
        self
    }

    /// Sets how long a composite waits for open parts after its own call has ended. Then it is counted as
    /// cancelled, if no part has ended worse, and the parts that are open count as
    /// [`late`](crate::ServiceSnapshot::late) when they end. Defaults to 30 s.
    pub fn part_timeout(mut self, timeout: Duration) -> Self {
        self.part_timeout = timeout;
        self
    }

    /// Sets the clock. Defaults to the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Adds the label `client` to the counters and histograms of the `metrics` facade, for the first
    /// `at_most` verified clients of each service. They keep it for as long as the program runs, since
    /// a recorder never drops a series. All others are labelled `other`, as is a client of that name;
    /// anonymous calls have no such label. Each client costs a recorder about six series.
    #[cfg(feature = "metrics")]
    pub fn label_clients(mut self, at_most: usize) -> Self {
        self.labels.clients = Some(at_most);
        self
    }

    /// Builds the monitor.
    pub fn build(self) -> Monitor {
        Monitor(Arc::new(Shared {
            settings: self,
            contexts: Mutex::default(),
            is_counted: [const { AtomicBool::new(true) }; 5],
            waiting: Waiting::default(),
            health: Mutex::default(),
        }))
    }
}
