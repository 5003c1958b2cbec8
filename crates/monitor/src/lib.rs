//! Counters per service and client.
//!
//! [`MonitorLayer`] counts the calls of a service by who made them. It stands **outside** of the
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
//! // Several, in one snapshot; the client is what the claim `client_id` says.
//! let monitor = Monitor::new();
//! let orders = monitor.layer("orders").client_claim("client_id");
//! let invoices = monitor.layer("invoices").client_claim("client_id");
//! assert_eq!(monitor.snapshot().services.len(), 2);
//! ```
//!
//! # Who calls
//! The client is an attribute of the **verified** token: its subject, unless
//! [`client_claim`](MonitorLayer::client_claim) or [`client_by`](MonitorLayer::client_by) say
//! otherwise. The layer learns it through the [`IdentitySlot`] that it puts into the request and
//! that the bearer layer fills; what a token says that nobody verified is never read. Calls without
//! a verified token, or with one that lacks the attribute, are counted as
//! [`anonymous`](ServiceSnapshot::anonymous).
//!
//! A service keeps the counts of at most 10,000 clients ([`MonitorBuilder::max_clients`]). The
//! least recently seen one makes room for a new one; its counts go to
//! [`other`](ServiceSnapshot::other), and the sums stay what they were. Of a name longer than 256
//! bytes the first 256 count.
//!
//! # How calls end
//!
//! | outcome | when |
//! |---|---|
//! | rejected | the response carries a [`Rejection`]; counted by its [`Reason`], whatever becomes of the response's body |
//! | failure | the head (4xx) or the `grpc-status` says so |
//! | exception | the head (5xx) or the `grpc-status` says so; the service or the body failed, or panicked |
//! | cancelled | the response future was dropped, or the body before its end, and the head said nothing ill |
//! | success | the response came to its end |
//!
//! Where the end is says [`end`](tower_revoke_core::end): a call counts before its last frame is
//! handed on, and where nothing follows the head, before the head. Other rules: a [`Classify`] of
//! your own, or one of tower-http's by the feature `tower-http`, see [`MonitorLayer::classify`].
//!
//! [`IdentitySlot`]: tower_revoke_core::IdentitySlot
//! [`Rejection`]: tower_revoke_core::Rejection
//! [`Reason`]: tower_revoke_core::Reason

#![cfg_attr(
    feature = "metrics",
    doc = "
# The `metrics` facade
With the feature `metrics`, each call goes to the recorder of the program as well. Install it before
the first call; what was counted without one is not made up for.

| name | kind | labels |
|---|---|---|
| `tower_revoke_requests_total` | counter | `service`, `outcome`; of rejected calls `reason` |
| `tower_revoke_request_duration_seconds` | histogram | `service`; without rejected calls |
| `tower_revoke_requests_in_flight` | gauge | `service` |

The values of all labels are bounded. Clients are none of them, unless
[`MonitorBuilder::label_clients`] asks for it.
"
)]

mod body;
mod clients;
mod counters;
mod future;
mod in_flight;
mod layer;
mod monitor;
mod series;
mod service;
mod snapshot;
#[cfg(feature = "tower-http")]
mod tower_http;

pub use tower_revoke_core::{ByStatus, Classify};

#[cfg(feature = "tower-http")]
pub use self::tower_http::TowerHttp;
pub use self::{
    body::MonitorBody,
    future::MonitorFuture,
    layer::MonitorLayer,
    monitor::{Monitor, MonitorBuilder},
    service::MonitorService,
    snapshot::{Counts, Latency, ServiceSnapshot, Snapshot},
};
