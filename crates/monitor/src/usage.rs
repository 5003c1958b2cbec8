//! What operators read: totals and the recent past of everything, sorted, filtered and cut.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tower_revoke_core::UnixTime;

use crate::{ClientMinute, Counts, Latency, Monitor, ServiceHistory, ServiceSnapshot, Span};

/// What [`Monitor::usage`] returns. As a query string: `?span=300&sort=exception&q=order&limit=20`.
///
/// ```
/// use tower_revoke_monitor::UsageQuery;
///
/// let query: UsageQuery = serde_json::from_str(r#"{"sort": "exception", "limit": 20}"#)?;
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct UsageQuery {
    /// How many seconds back the recent numbers go: 5 to 3,600. Defaults to 300.
    pub span: u64,
    /// By what each list is sorted, the largest first. Defaults to the number of calls.
    pub sort: UsageSort,
    /// Only methods and clients whose names contain this text, in whatever case. Empty for all.
    pub q: String,
    /// The largest number of methods, and of clients, of each service: at most 1,000. Defaults to 100.
    pub limit: usize,
    /// Whether to add the steps of five seconds of each service, upstream and composite, and the minutes of
    /// each client.
    pub steps: bool,
}

impl Default for UsageQuery {
    fn default() -> Self {
        Self {
            span: 300,
            sort: UsageSort::default(),
            q: String::new(),
            limit: 100,
            steps: false,
        }
    }
}

/// By what usage is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UsageSort {
    /// By the number of calls.
    #[default]
    Calls,
    /// By the number of exceptions.
    Exception,
    /// By the number of failures.
    Failure,
    /// By the number of rejections.
    Rejected,
    /// By name, from A to Z.
    Name,
}

impl UsageSort {
    fn key(self, counts: &Counts) -> Reverse<u64> {
        Reverse(match self {
            Self::Calls => counts.calls(),
            Self::Exception => counts.exception,
            Self::Failure => counts.failure,
            Self::Rejected => counts.rejected,
            Self::Name => 0,
        })
    }
}

/// The usage of all services, upstreams and composites, as [`Monitor::usage`] returns it.
///
/// Serialized, this is the stable format of `/usage.json`. Members may be added; whatever else changes
/// raises `version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// The version of the format: 1.
    pub version: u32,
    /// When it was read.
    pub at: UnixTime,
    /// The services.
    pub services: Vec<ServiceUsage>,
    /// The upstreams.
    pub upstreams: Vec<ServiceUsage>,
    /// The composites.
    pub composites: Vec<ServiceUsage>,
}

/// The usage of one service, upstream or composite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ServiceUsage {
    /// Its name.
    pub name: Arc<str>,
    /// The counts since the start.
    pub total: Counts,
    /// The recent past.
    pub recent: Span,
    /// The steps of the recent past that had calls, if they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Span>,
    /// How long after a revocation live streams were ended, since the start, see
    /// [`ServiceSnapshot::cut_delay`](crate::ServiceSnapshot::cut_delay).
    pub cut_delay: Latency,
    /// Its methods.
    pub methods: Vec<MethodUsage>,
    /// Calls of no known method, since the start.
    pub other_methods: Counts,
    /// Its clients.
    pub clients: Vec<ClientUsage>,
    /// How many clients match the query.
    pub clients_found: usize,
    /// Calls of no known client, since the start.
    pub anonymous: Counts,
    /// Calls of clients without counts of their own, since the start.
    pub other: Counts,
    /// Of a composite: how many parts ended after it was judged, since the start.
    pub late: u64,
}

/// The usage of one method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MethodUsage {
    /// Its name.
    pub name: Arc<str>,
    /// The counts since the start.
    pub total: Counts,
    /// The recent past.
    pub recent: Span,
}

/// The usage of one client of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClientUsage {
    /// Its name.
    pub name: Arc<str>,
    /// The counts since the start.
    pub total: Counts,
    /// The minutes of the recent past in which it had calls and was among the 1,000 busiest clients of the
    /// service, the oldest first, if steps were asked for. The minute that has not ended yet is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub minutes: Vec<ClientMinute>,
}

impl Monitor {
    /// Returns totals and the recent past, sorted, filtered and cut as asked. Serve it as JSON to
    /// operators only, as `MonitorDashboard` (feature `dashboard`) does: it names clients.
    ///
    /// ```
    /// use tower_revoke_monitor::{Monitor, UsageQuery};
    ///
    /// let monitor = Monitor::new();
    /// let orders = monitor.layer("orders");
    /// let usage = monitor.usage(&UsageQuery::default());
    /// let json = serde_json::to_value(&usage)?;
    /// assert_eq!(json["version"], 1);
    /// assert_eq!(json["services"][0]["name"], "orders");
    /// assert_eq!(json["services"][0]["recent"]["success"], 0);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn usage(&self, query: &UsageQuery) -> Usage {
        let span = Duration::from_secs(query.span.clamp(5, 3_600));
        let mut history = self.history(span);
        let snapshot = self.snapshot();
        let mut usage = Usage {
            version: 1,
            at: self.clock().now(),
            services: query.usage_of(snapshot.services, &mut history.services),
            upstreams: query.usage_of(snapshot.upstreams, &mut history.upstreams),
            composites: query.usage_of(snapshot.composites, &mut history.composites),
        };
        if query.steps {
            self.add_minutes(&mut usage, span);
        }
        usage
    }
}

impl UsageQuery {
    fn usage_of(
        &self,
        counted: BTreeMap<Arc<str>, ServiceSnapshot>,
        histories: &mut BTreeMap<Arc<str>, ServiceHistory>,
    ) -> Vec<ServiceUsage> {
        let mut all: Vec<_> = counted
            .into_iter()
            .map(|(name, counted)| {
                let mut history = histories.remove(&name).unwrap_or_default();
                let (clients, clients_found) = self.select(counted.clients);
                let (methods, _) = self.select(counted.methods);
                let method = |(name, total)| MethodUsage {
                    recent: history.methods.remove(&name).unwrap_or_default().total,
                    name,
                    total,
                };
                ServiceUsage {
                    name,
                    methods: methods.into_iter().map(method).collect(),
                    recent: history.all.total,
                    steps: match self.steps {
                        true => history.all.steps,
                        false => Vec::new(),
                    },
                    total: counted.total,
                    cut_delay: counted.cut_delay,
                    other_methods: counted.other_methods,
                    clients: clients
                        .into_iter()
                        .map(|(name, total)| ClientUsage {
                            name,
                            total,
                            minutes: Vec::new(),
                        })
                        .collect(),
                    clients_found,
                    anonymous: counted.anonymous,
                    other: counted.other,
                    late: counted.late,
                }
            })
            .collect();
        all.sort_by_key(|service| self.sort.key(&service.total));
        all
    }

    /// Returns what is asked for, and how many were found.
    fn select(&self, named: BTreeMap<Arc<str>, Counts>) -> (Vec<(Arc<str>, Counts)>, usize) {
        let text = self.q.to_lowercase();
        let mut found: Vec<_> = named
            .into_iter()
            .filter(|(name, _)| text.is_empty() || name.to_lowercase().contains(&text))
            .collect();
        let count = found.len();
        // Stable, so that names of one rank keep their order.
        found.sort_by_key(|(_, counts)| self.sort.key(counts));
        found.truncate(self.limit.min(1_000));
        (found, count)
    }
}
