//! Counters per service, method, client, upstream and composite.
//!
//! [`MonitorLayer`] counts the calls of a service by client, method and outcome. It goes **outside** of the
//! layer that checks tokens, so that it sees rejections too:
//!
//! ```
//! use tower_revoke_monitor::{Monitor, MonitorLayer};
//!
//! // One service.
//! let layer = MonitorLayer::service("orders");
//! let snapshot = layer.monitor().snapshot();
//! assert_eq!(snapshot.services["orders"].total.calls(), 0);
//!
//! // Several in one snapshot, with the claim `client_id` as the client.
//! let monitor = Monitor::new();
//! let orders = monitor.layer("orders").oauth_client();
//! let invoices = monitor.layer("invoices").oauth_client();
//! assert_eq!(monitor.snapshot().services.len(), 2);
//! ```
//!
//! # Clients
//! The client is an attribute of the **verified** token: its subject, unless
//! [`client_claim`](MonitorLayer::client_claim) or [`client_by`](MonitorLayer::client_by) choose
//! another. The layer puts an [`IdentitySlot`] into the request, and the bearer layer fills it; an
//! unverified token is never read. Calls without a verified token, or with one that lacks the
//! attribute, are counted as [`anonymous`](ServiceSnapshot::anonymous).
//!
//! The revocation, introspection and administration endpoints report the client that has authenticated
//! by a secret. It is named by its id where the subject or the OAuth client is chosen.
//!
//! A service keeps the counts of at most 10,000 clients ([`MonitorBuilder::client_capacity`]). The
//! least recently seen client makes room for a new one; its counts move to
//! [`other`](ServiceSnapshot::other), so that the sums stay the same. Names are cut to 256 bytes.
//!
//! # Methods
//! Each service is also counted by method: the HTTP method and the route that the router has matched,
//! such as `GET /orders/{id}`, or the gRPC method, such as `shop.Orders/Get`. The raw path is never a
//! name. With the feature `axum-08` the route of an axum `Router` is found by itself, in layers of the
//! router ([`Router::layer`]) or of its routes; for other routers, see [`MonitorLayer::route_by`].
//! Without a route, calls are counted by their HTTP method alone.
//!
//! Only methods that the service knows get counts of their own: not those that it answers with 405, 501
//! or gRPC's UNIMPLEMENTED, nor with 404 where no route was matched. So a scan adds none. There are at
//! most 100 ([`MonitorBuilder::method_capacity`]); all other calls are
//! [`other_methods`](ServiceSnapshot::other_methods).
//!
//! # Upstreams
//! The same layer around an outbound client, from [`Monitor::upstream`], counts the calls that a service
//! makes itself.
//!
//! # Composites
//! A layer from [`Monitor::composite`] counts several services as one, in addition to their own counts.
//! Its call succeeds only if all of its *parts* do. Those are the calls that a [`MonitorLayer`] sees with the
//! [`Composite`] handle in their request: calls of services further in, and outbound calls that were
//! [attached](Composite::attach). A nested composite is one part.
//!
//! The worst decides: exception, failure, cancelled, success. [`Composite`] has the whole table.
//!
//! # Live streams
//! Where `TokenLifetimeLayer` is inside, the monitor counts the streams that it watches, by client, and
//! how many it has ended and why; and of each service, how long after a revocation they were ended:
//! [`live_streams`](Counts::live_streams), [`ended_streams`](Counts::ended_streams) and
//! [`cut_delay`](ServiceSnapshot::cut_delay).
//!
//! # The last hour
//! [`Monitor::history`] tells rates and percentiles of each service, upstream, composite and method, up to
//! an hour back, in steps of five seconds. [`Monitor::usage`] has the calls of each minute besides, of the
//! 1,000 clients of a service that were the busiest ones of that minute.
//!
//! # On and off
//! [`Monitor::count`] switches services, upstreams, composites, clients and methods on and off while they run.
//!
//! # Outcomes
//!
//! | outcome | when |
//! |---|---|
//! | rejected | the response carries a [`Rejection`]; counted by its [`Reason`], whatever becomes of the response's body |
//! | failure | the head (4xx) or the `grpc-status` reports one |
//! | exception | the head (5xx) or the `grpc-status` reports one; the service or the body failed, or panicked |
//! | cancelled | the response future was dropped, or the body before its end, after a head that reported no failure |
//! | success | the response came to its end |
//!
//! A call is counted before its last frame is handed on, and before its head where nothing follows
//! it; see [`end`](tower_revoke_core::end) for where a response ends. For other rules, implement
//! [`Classify`] or take a classifier of tower-http (feature `tower-http`), and pass it to
//! [`MonitorLayer::classify`].
//!
//! [`IdentitySlot`]: tower_revoke_core::IdentitySlot
//! [`Rejection`]: tower_revoke_core::Rejection
//! [`Reason`]: tower_revoke_core::Reason
//! [`Router::layer`]: https://docs.rs/axum/0.8/axum/struct.Router.html#method.layer

// A library never panics on what it is given.
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::panic, clippy::string_slice)
)]
#![cfg_attr(
    feature = "metrics",
    doc = "
# The `metrics` facade
With the feature `metrics`, each call is reported to the program's recorder as well. Install it before
the first call: earlier calls are not reported later.

| name | kind | labels |
|---|---|---|
| `tower_revoke_requests_total` | counter | `service`, `outcome`; of rejected calls `reason` |
| `tower_revoke_request_duration_seconds` | histogram | `service`; without rejected calls |
| `tower_revoke_requests_in_flight` | gauge | `service` |
| `tower_revoke_late_parts_total` | counter | `composite` |
| `tower_revoke_streams` | gauge | `service` |
| `tower_revoke_streams_ended_total` | counter | `service`, `reason` |
| `tower_revoke_stream_cut_delay_seconds` | histogram | `service`; of revoked tokens |

Upstreams have the label `upstream` in place of `service`, and composites `composite`. A composite whose parts
time out is reported when the next call of a composite ends, or the counts are read. The values of all labels are bounded. Clients are a label only with
[`MonitorBuilder::label_clients`].
"
)]
#![cfg_attr(
    feature = "prometheus",
    doc = "
# Prometheus
With the feature `prometheus`, [`Monitor::prometheus`] and [`Monitor::open_metrics`] return the same series
in the text formats that Prometheus scrapes, so a program exports them by one of the two ways. Serve them
to operators only, as `MonitorDashboard` (feature `dashboard`) does. Histograms have a bucket for each power of two from 256 µs to 16.8 s. There are more:

| name | kind | labels |
|---|---|---|
| `tower_revoke_request_body_bytes_total` | counter | `service` |
| `tower_revoke_response_body_bytes_total` | counter | `service` |
| `tower_revoke_method_requests_total` | counter | `service`, `method`, `outcome` |
| `tower_revoke_method_request_duration_seconds` | histogram | `service`, `method`; without rejected calls |

Methods without counts of their own are labelled `other`. Clients are no label, since their series would
end when they make room for others: see [`Monitor::usage`]. `examples/monitoring` has alert rules and a
dashboard for Grafana.
"
)]

mod body;
mod call;
mod clients;
mod composite;
mod context;
mod counters;
#[cfg(feature = "dashboard")]
mod dashboard;
mod future;
mod history;
mod in_flight;
mod layer;
mod methods;
mod minutes;
mod monitor;
#[cfg(feature = "prometheus")]
mod prometheus;
mod scope;
mod series;
mod service;
mod snapshot;
mod streams;
mod times;
#[cfg(feature = "tower-http")]
mod tower_http;
mod usage;

pub use tower_revoke_core::{ByStatus, Classify};

#[cfg(feature = "dashboard")]
pub use self::dashboard::{MonitorDashboard, MonitorDashboardFuture, MonitorReports};
#[cfg(feature = "prometheus")]
pub use self::prometheus::{OPEN_METRICS_TYPE, PROMETHEUS_TYPE};
#[cfg(feature = "tower-http")]
pub use self::tower_http::TowerHttp;
pub use self::{
    body::MonitorBody,
    composite::Composite,
    future::MonitorFuture,
    history::{History, SeriesHistory, ServiceHistory, Span},
    layer::MonitorLayer,
    minutes::ClientMinute,
    monitor::{Counted, Monitor, MonitorBuilder},
    service::MonitorService,
    snapshot::{Counts, Latency, ServiceSnapshot, Snapshot},
    usage::{ClientUsage, MethodUsage, ServiceUsage, Usage, UsageQuery, UsageSort},
};
