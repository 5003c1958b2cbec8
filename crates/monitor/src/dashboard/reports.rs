//! What a dashboard serves behind its guard.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::query::{BadParameter, parse_none, parse_usage};
use crate::{Monitor, OPEN_METRICS_TYPE, PROMETHEUS_TYPE};

/// The service that a guard of a [`MonitorDashboard`](super::MonitorDashboard) is put around.
#[derive(Clone, Debug)]
pub struct MonitorReports(pub(super) Monitor);

/// A report with its media type.
type Report = (&'static str, String);

impl MonitorReports {
    fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let report = match request.uri().path() {
            "/metrics" => Self::metrics,
            "/usage.json" => Self::usage,
            _ => return refusal(StatusCode::NOT_FOUND, ""),
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "");
        }
        let query = request.uri().query().unwrap_or_default();
        match report(self, query, request.headers()) {
            Ok((media, text)) => {
                let response = response(StatusCode::OK, media, text);
                match *request.method() {
                    Method::HEAD => without_body(response),
                    _ => response,
                }
            }
            Err(error) => refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }

    fn metrics(&self, query: &str, headers: &HeaderMap) -> Result<Report, BadParameter> {
        parse_none(query)?;
        Ok(match prefers_open_metrics(headers) {
            true => (OPEN_METRICS_TYPE, self.0.open_metrics()),
            false => (PROMETHEUS_TYPE, self.0.prometheus()),
        })
    }

    fn usage(&self, query: &str, _: &HeaderMap) -> Result<Report, BadParameter> {
        let usage = self.0.usage(&parse_usage(query)?);
        let json = serde_json::to_string(&usage).expect("names and numbers are JSON");
        Ok(("application/json", json))
    }
}

/// Returns whether OpenMetrics is accepted, and the text format of Prometheus not more so.
fn prefers_open_metrics(headers: &HeaderMap) -> bool {
    let (mut open_metrics, mut text) = (0.0_f32, 0.0_f32);
    let values = headers.get_all(ACCEPT).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q="));
        let quality = quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0));
        if media.eq_ignore_ascii_case("application/openmetrics-text") {
            open_metrics = open_metrics.max(quality);
        } else if media.eq_ignore_ascii_case("text/plain") {
            text = text.max(quality);
        }
    }
    open_metrics > 0.0 && open_metrics >= text
}

/// Of another method than GET and HEAD it names these two.
pub(super) fn refusal(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let text = match text {
        "" => status.canonical_reason().unwrap_or_default(),
        text => text,
    };
    let mut response = response(status, "text/plain; charset=utf-8", format!("{text}\n"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

/// Returns the response to a HEAD.
pub(super) fn without_body(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let length = response.body().size_hint().exact().unwrap_or_default();
    *response.body_mut() = Full::default();
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

pub(super) fn response(
    status: StatusCode,
    media: &'static str,
    text: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, media),
        (CACHE_CONTROL, "no-store"),
        // Names are whatever their clients want them to be.
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

impl<B> Service<Request<B>> for MonitorReports {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.respond(&request)))
    }
}
