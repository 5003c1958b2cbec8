//! The handle from which layers are made and counts are read.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tower_revoke_core::Clock;

use crate::{MonitorLayer, Snapshot, clients::Clients, series::Labels};

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
    clock: Clock,
    max_clients: usize,
    labels: Labels,
    services: Mutex<BTreeMap<Arc<str>, Arc<Clients>>>,
}

impl Monitor {
    /// With the defaults: 10,000 clients a service, the machine's clock.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Other settings.
    pub fn builder() -> MonitorBuilder {
        MonitorBuilder {
            clock: Clock::system(),
            max_clients: 10_000,
            labels: Labels::default(),
        }
    }

    /// A layer that counts to the service of this name. Layers of the same name count together.
    pub fn layer(&self, service: impl Into<Arc<str>>) -> MonitorLayer {
        let name = service.into();
        let mut services = self.services();
        let clients = services.entry(name).or_insert_with_key(|name| {
            let series = self.0.labels.of_service(name);
            Arc::new(Clients::new(series, self.0.max_clients))
        });
        MonitorLayer::new(self.clone(), clients.clone())
    }

    /// The counts now, see [`Snapshot`].
    pub fn snapshot(&self) -> Snapshot {
        let services = self.services().clone();
        let services = services
            .into_iter()
            .map(|(name, clients)| (name, clients.snapshot()));
        Snapshot {
            services: services.collect(),
        }
    }

    /// A panic can't leave the map half changed.
    fn services(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Clients>>> {
        let services = self.0.services.lock();
        services.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
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
            .field("max_clients", &self.0.max_clients)
            .finish_non_exhaustive()
    }
}

/// The settings of a [`Monitor`].
///
/// ```
/// use tower_revoke_monitor::Monitor;
///
/// let monitor = Monitor::builder().max_clients(500).build();
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct MonitorBuilder {
    clock: Clock,
    max_clients: usize,
    labels: Labels,
}

impl MonitorBuilder {
    /// How many clients a service keeps apart; 10,000 unless set, about 0.5 KiB each. With 0 all
    /// verified clients are counted as [`other`](crate::ServiceSnapshot::other).
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.max_clients = clients;
        self
    }

    /// Where the time comes from; the machine's clock unless given.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Lets the facade's counters and histograms carry the label `client` too: for the first
    /// `at_most` verified clients of each service, for as long as the program runs, since a
    /// recorder forgets no series. All others are labelled `other`, as is a client of that name;
    /// anonymous calls have no such label. Each client costs a recorder about six series.
    #[cfg(feature = "metrics")]
    pub fn label_clients(mut self, at_most: usize) -> Self {
        self.labels.clients = Some(at_most);
        self
    }

    /// The monitor.
    pub fn build(self) -> Monitor {
        Monitor(Arc::new(Shared {
            clock: self.clock,
            max_clients: self.max_clients,
            labels: self.labels,
            services: Mutex::default(),
        }))
    }
}
