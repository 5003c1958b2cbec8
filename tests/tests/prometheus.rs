//! Tests what a monitor tells Prometheus, with Debian's Prometheus and its promtool.

use std::{
    convert::Infallible,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke::{Monitor, OPEN_METRICS_TYPE, PROMETHEUS_TYPE};
use tower_revoke_tests::{Server, servers::Prometheus};

/// A name that a text format could stumble over.
const HOSTILE: &str = "<script>\"quoted\"\\back\nline\r\u{202e}\u{0}{}=,#";

/// Returns a folder of `examples/monitoring`.
fn example(file: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("../examples/monitoring").join(file)
}

fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of Debian's package prometheus");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = child.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

/// Counts calls of a service and of an upstream.
async fn counted(monitor: &Monitor, name: &'static str) {
    for (layer, status) in [
        (monitor.layer(name), StatusCode::OK),
        (monitor.layer(name), StatusCode::INTERNAL_SERVER_ERROR),
        (monitor.upstream(name), StatusCode::OK),
    ] {
        let service = layer
            .route_by(|_| Some(HOSTILE))
            .layer(service_fn(|_: Request<()>| {
                let mut response = Response::new(Full::<bytes::Bytes>::from("hello"));
                *response.status_mut() = status;
                std::future::ready(Ok::<_, Infallible>(response))
            }));
        let response = service.oneshot(Request::new(())).await.expect("an answer");
        response.into_body().collect().await.expect("a body");
    }
}

#[tokio::test]
async fn promtool_finds_no_fault_with_the_text_and_hostile_names() {
    let monitor = Monitor::new();
    for name in ["orders", HOSTILE] {
        counted(&monitor, name).await;
    }
    let (is_good, said) = promtool(&["check", "metrics"], &monitor.prometheus());
    assert!(is_good, "{said}\n{}", monitor.prometheus());
    assert_eq!(said, "");
}

#[test]
fn the_alert_rules_pass_their_unit_tests() {
    let rules = example("alerts.yml");
    let tests = example("alerts.test.yml");
    for (command, file) in [("check", rules), ("test", tests)] {
        let file = file.to_str().expect("UTF-8");
        let (is_good, said) = promtool(&[command, "rules", file], "");
        assert!(is_good, "{said}");
    }
}

/// Returns the queries of the dashboard about what a monitor counts.
fn queries() -> Vec<String> {
    let text = std::fs::read_to_string(example("dashboard.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array());
    targets
        .flatten()
        .filter_map(|target| target["expr"].as_str())
        // The others are of the list and the keys, which report through the `metrics` facade.
        .filter(|query| query.contains("request") || query.contains("response"))
        .map(|query| {
            query
                .replace("$instance", ".*")
                .replace("$__rate_interval", "30s")
        })
        .collect()
}

#[tokio::test]
async fn prometheus_scrapes_both_formats_and_the_dashboards_queries_return_data() {
    let monitor = Monitor::new();
    let shown = monitor.clone();
    let metrics = async move |request: Request<axum::body::Body>| {
        let accept = request.headers().get("accept");
        let accept = accept.and_then(|accept| accept.to_str().ok());
        match accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            true => ([(CONTENT_TYPE, OPEN_METRICS_TYPE)], shown.open_metrics()),
            false => ([(CONTENT_TYPE, PROMETHEUS_TYPE)], shown.prometheus()),
        }
    };
    let server = Server::start(Router::new().route("/metrics", get(metrics))).await;
    for name in ["orders", HOSTILE] {
        counted(&monitor, name).await;
    }
    // It prefers OpenMetrics; promtool reads the other format.
    let prometheus = Prometheus::start(server.addr).await;
    for query in queries() {
        // A rejection has a series only after the first one.
        if query.contains("outcome=\"rejected\"") {
            continue;
        }
        // A rate needs two scrapes between which something was counted.
        let within = Duration::from_secs(60);
        let data = async {
            while prometheus.query(&query).await.is_empty() {
                counted(&monitor, "orders").await;
            }
        };
        let data = tokio::time::timeout(within, data).await;
        data.unwrap_or_else(|_| panic!("no data within {within:?}: {query}"));
    }
    assert_eq!(prometheus.target().await, ("up".to_owned(), String::new()));
    let of = prometheus.query("tower_revoke_requests_in_flight").await;
    let names = of
        .iter()
        .filter_map(|series| series["metric"]["service"].as_str());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    assert_eq!(names, [HOSTILE, "orders"]);
}
