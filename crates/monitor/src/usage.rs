//! What operators read: totals and the recent past of everything, sorted, filtered and cut.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tower_revoke_core::{HealthCheck, UnixTime};

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
    /// Only the service, upstream or composite of this name. Empty for all.
    pub only: String,
    /// By what each list is sorted, the largest first: by the recent past, and where that is equal, as always
    /// with clients, by what was counted since the start. Defaults to the number of calls.
    pub sort: UsageSort,
    /// Only methods and clients whose names contain this text, in whatever case, and unless one is named by
    /// `only`, what has such a name or some of these. Empty for all.
    pub q: String,
    /// The largest number of methods, and of clients, of each service: at most 1,000. Defaults to 100.
    pub limit: usize,
    /// Into about how many steps the recent past of each service, upstream and composite is divided, of five
    /// seconds or more: at most 720. Those without calls are left out. Defaults to 0: there are none. Any
    /// other number adds the minutes of each client too.
    pub steps: usize,
}

impl Default for UsageQuery {
    fn default() -> Self {
        Self {
            span: 300,
            only: String::new(),
            sort: UsageSort::default(),
            q: String::new(),
            limit: 100,
            steps: 0,
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
    /// By the number of exceptions among all calls that were not rejected.
    ExceptionRatio,
    /// By the number of failures.
    Failure,
    /// By the number of rejections.
    Rejected,
    /// By the number of calls in flight.
    InFlight,
    /// By the median latency of the recent past.
    P50,
    /// By the 99th percentile of the latency of the recent past.
    P99,
    /// By the mean latency since the start.
    Avg,
    /// By the maximum latency since the start.
    Max,
    /// By name, from A to Z.
    Name,
}

impl UsageSort {
    /// Returns what the largest is first of: of the recent past, and since the start.
    fn keys(self, recent: Option<&Span>, total: &Counts) -> [f64; 2] {
        let ratio = |part: u64, all: u64| part as f64 / all.max(1) as f64;
        let seconds = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64();
        let recently = |value: fn(&Span) -> u64| recent.map_or(0.0, |span| value(span) as f64);
        let of = |value: fn(&Span) -> u64, total: u64| [recently(value), total as f64];
        match self {
            Self::Calls => of(Span::calls, total.calls()),
            Self::Exception => of(|span| span.exception, total.exception),
            Self::ExceptionRatio => [
                recent.map_or(0.0, |it| ratio(it.exception, it.calls() - it.rejected)),
                ratio(total.exception, total.calls() - total.rejected),
            ],
            Self::Failure => of(|span| span.failure, total.failure),
            Self::Rejected => of(|span| span.rejected, total.rejected),
            Self::InFlight => [total.in_flight as f64, 0.0],
            Self::P50 => [
                seconds(recent.and_then(|it| it.p50)),
                seconds(total.latency.avg()),
            ],
            Self::P99 => [
                seconds(recent.and_then(|it| it.p99)),
                seconds(total.latency.max),
            ],
            Self::Avg => [seconds(total.latency.avg()), 0.0],
            Self::Max => [seconds(total.latency.max), 0.0],
            Self::Name => [0.0; 2],
        }
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
    /// The checks of what was given to [`Monitor::add_health`].
    pub health: Vec<HealthCheck>,
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
    /// The steps of the recent past that had calls, the oldest first, if they were asked for.
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
        let asked = |name: &str| query.only.is_empty() || name == query.only;
        let mut history = self.history_of(asked, span, query.steps.min(720), 0);
        let snapshot = self.snapshot_of(asked);
        let mut usage = Usage {
            version: 1,
            at: self.clock().now(),
            health: self.health(),
            services: query.usage_of(snapshot.services, &mut history.services),
            upstreams: query.usage_of(snapshot.upstreams, &mut history.upstreams),
            composites: query.usage_of(snapshot.composites, &mut history.composites),
        };
        if query.steps > 0 {
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
        let text = self.q.to_lowercase();
        let matches = |name: &str| text.is_empty() || name.to_lowercase().contains(&text);
        let mut all: Vec<_> = counted
            .into_iter()
            .filter_map(|(name, counted)| {
                let mut history = histories.remove(&name).unwrap_or_default();
                let methods = counted.methods.into_iter();
                let methods = methods.filter(|(name, _)| matches(name));
                let mut methods: Vec<_> = methods
                    .map(|(name, total)| MethodUsage {
                        recent: history.methods.remove(&name).unwrap_or_default().total,
                        name,
                        total,
                    })
                    .collect();
                let clients = counted.clients.into_iter();
                let clients = clients.filter(|(name, _)| matches(name));
                let mut clients: Vec<_> = clients
                    .map(|(name, total)| ClientUsage {
                        name,
                        total,
                        minutes: Vec::new(),
                    })
                    .collect();
                let clients_found = clients.len();
                if self.only.is_empty()
                    && methods.is_empty()
                    && clients.is_empty()
                    && !matches(&name)
                {
                    return None;
                }
                self.arrange(&mut methods, |it| (Some(&it.recent), &it.total));
                self.arrange(&mut clients, |it| (None, &it.total));
                methods.truncate(self.limit.min(1_000));
                clients.truncate(self.limit.min(1_000));
                Some(ServiceUsage {
                    name,
                    methods,
                    recent: history.all.total,
                    steps: history.all.steps,
                    total: counted.total,
                    cut_delay: counted.cut_delay,
                    other_methods: counted.other_methods,
                    clients,
                    clients_found,
                    anonymous: counted.anonymous,
                    other: counted.other,
                    late: counted.late,
                })
            })
            .collect();
        self.arrange(&mut all, |it| (Some(&it.recent), &it.total));
        all
    }

    /// Sorts what is in the order of its names, which those of one rank keep.
    fn arrange<T>(&self, all: &mut [T], counts: impl Fn(&T) -> (Option<&Span>, &Counts)) {
        let keys = |one: &T| {
            let (recent, total) = counts(one);
            self.sort.keys(recent, total)
        };
        all.sort_by(|a, b| {
            let pairs = keys(b).into_iter().zip(keys(a));
            let mut orders = pairs.map(|(b, a)| b.total_cmp(&a));
            orders
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        });
    }
}
