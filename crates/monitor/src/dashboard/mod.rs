//! What a monitor counts, for operators, by HTTP: as a page, and for programs.

mod hosts;
mod page;
mod query;
mod reports;

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_revoke_core::{RejectionBody, internal::POLLED_AFTER_COMPLETION};
use tower_service::Service;

pub use self::reports::MonitorReports;
use self::{hosts::Hosts, reports::refusal};
use crate::Monitor;

/// Serves what a [`Monitor`] counts to operators, as a page, and to Prometheus.
///
/// It is a `tower::Service` for any request body. Give it a listener of its own, which only operators
/// and Prometheus reach:
///
/// ```
/// # extern crate axum_08 as axum;
/// use axum::Router;
/// use tokio::net::TcpListener;
/// use tower_revoke_bearer::RequireBearerLayer;
/// use tower_revoke_core::TokenVerifier;
/// use tower_revoke_monitor::{Monitor, MonitorDashboard};
///
/// async fn serve(monitor: Monitor, tokens: impl TokenVerifier) -> std::io::Result<()> {
///     let guard = RequireBearerLayer::new(tokens).scope("monitoring");
///     let dashboard = MonitorDashboard::new(monitor, guard).host("orders.internal");
///     let socket = TcpListener::bind("0.0.0.0:9100").await?;
///     axum::serve(socket, Router::new().fallback_service(dashboard)).await
/// }
/// ```
///
/// # Responses
/// | request | response |
/// |---|---|
/// | `GET /` | the page, with `/dashboard.css` and `/dashboard.js` |
/// | `GET /metrics` | the text format of Prometheus, or of OpenMetrics if `Accept` prefers it |
/// | `GET /usage.json` | a [`Usage`](crate::Usage), as the parameters `span`, `only`, `sort`, `q`, `limit` and `steps` of a [`UsageQuery`](crate::UsageQuery) ask |
/// | `HEAD` of these | the same without the body |
/// | another host | 421 |
/// | another path | 404 |
/// | another method | 405 |
/// | an unknown, repeated or bad query parameter | 400, with its name in the text |
///
/// None may be cached. Wherever it is mounted, it looks at the path that it is given; axum's
/// `nest_service` takes the prefix off. Open the page with the slash at its end, as in `/monitor/`, since
/// it asks for what is beside it.
///
/// # The page
/// It shows whether tokens are checked as they should be, by the parts that [`Monitor::add_health`] was
/// given; then services, composites and upstreams, those with the largest share of exceptions first; and of
/// each of them its last hour, its methods and its clients. It reads `/usage.json` every two seconds, loads
/// nothing from elsewhere, and works in current versions of Chromium, Firefox and Safari.
///
/// # Who may read it
/// The page itself is public, and contains no data. Everything else names clients, so the constructor takes
/// the layer that decides who reads it: `RequireBearerLayer`, or any other that looks at `Authorization`.
/// The page asks for a token if it gets a 401 or 403, and keeps it in memory until it is closed or reloaded.
/// It sends no cookies, so no other site can make it read for them.
/// [`unprotected`](Self::unprotected) is for a listener that others can't reach. Prometheus sends a token if
/// its `scrape_configs` have `authorization`.
///
/// A page in an operator's browser reaches what only that browser reaches, such as loopback, if its own
/// name resolves there (DNS rebinding). So calls are answered only if their host is `localhost`, an IP
/// address, or a name that was [allowed](Self::host).
#[derive(Clone)]
pub struct MonitorDashboard<S> {
    reports: S,
    hosts: Hosts,
}

impl<S> MonitorDashboard<S> {
    /// Makes a dashboard whose reports are behind a guard.
    pub fn new<L>(monitor: Monitor, guard: L) -> Self
    where
        L: Layer<MonitorReports, Service = S>,
    {
        Self {
            reports: guard.layer(MonitorReports(monitor)),
            hosts: Hosts::default(),
        }
    }

    /// Allows calls by this host name, on any port. Repeated calls allow several.
    #[must_use]
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.add(name.into());
        self
    }
}

impl MonitorDashboard<MonitorReports> {
    /// Makes a dashboard without a guard: anyone who can reach it can read it.
    ///
    /// ```
    /// use tower_revoke_monitor::{Monitor, MonitorDashboard};
    ///
    /// let dashboard = MonitorDashboard::unprotected(Monitor::new());
    /// ```
    pub fn unprotected(monitor: Monitor) -> Self {
        Self {
            reports: MonitorReports(monitor),
            hosts: Hosts::default(),
        }
    }
}

impl<S, B, R> Service<Request<B>> for MonitorDashboard<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<RejectionBody<R>>;
    type Error = S::Error;
    type Future = MonitorDashboardFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.reports.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let state = if !self.hosts.allow(&request) {
            let response = refusal(StatusCode::MISDIRECTED_REQUEST, "");
            State::Answered {
                response: Some(response),
            }
        } else if let Some(file) = page::find(request.method(), request.uri().path()) {
            State::Answered {
                response: Some(file),
            }
        } else {
            State::Reporting {
                future: self.reports.call(request),
            }
        };
        MonitorDashboardFuture { state }
    }
}

impl<S> fmt::Debug for MonitorDashboard<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitorDashboard")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The response future of [`MonitorDashboard`].
    #[derive(Debug)]
    pub struct MonitorDashboardFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F> {
        Reporting { #[pin] future: F },
        Answered { response: Option<Response<Full<Bytes>>> },
    }
}

impl<F, R, E> Future for MonitorDashboardFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<RejectionBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(match self.project().state.project() {
            StateProj::Reporting { future } => ready!(future.poll(cx))?.map(RejectionBody::inner),
            StateProj::Answered { response } => {
                RejectionBody::rejected(response.take().expect(POLLED_AFTER_COMPLETION))
            }
        }))
    }
}
