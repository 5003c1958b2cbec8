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
    settings: MonitorBuilder,
    services: Mutex<BTreeMap<Arc<str>, Arc<Clients>>>,
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
            labels: Labels::default(),
        }
    }

    /// Returns a layer that counts the calls of the service of this name. Layers of the same name count
    /// together.
    pub fn layer(&self, service: impl Into<Arc<str>>) -> MonitorLayer {
        let name = service.into();
        let mut services = self.services();
        let clients = services.entry(name).or_insert_with_key(|name| {
            let settings = &self.0.settings;
            let series = settings.labels.of_service(name);
            Arc::new(Clients::new(series, settings.client_capacity))
        });
        MonitorLayer::of(self.clone(), clients.clone())
    }

    /// Returns the counts at this moment, see [`Snapshot`].
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
        &self.0.settings.clock
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
    labels: Labels,
}

impl MonitorBuilder {
    /// Sets how many clients of a service have counts of their own, about 0.5 KiB each. With 0 all
    /// verified clients are counted as [`other`](crate::ServiceSnapshot::other). Defaults to 10,000.
    pub fn client_capacity(mut self, clients: usize) -> Self {
        self.client_capacity = clients;
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
            services: Mutex::default(),
        }))
    }
}
