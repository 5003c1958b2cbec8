//! Tests what a monitor tells Prometheus, with Debian's Prometheus and its promtool.

use std::{
    convert::Infallible,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke::{Monitor, MonitorDashboard};
use tower_revoke_tests::{Client, Server, Wire, get, servers::Prometheus};

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
        (monitor.composite(name), StatusCode::NOT_FOUND),
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

#[tokio::test]
async fn the_dashboard_answers_on_real_sockets() {
    let monitor = Monitor::new();
    counted(&monitor, HOSTILE).await;
    let server = Server::start(MonitorDashboard::unprotected(monitor)).await;
    for wire in Wire::ALL {
        let mut client = Client::connect(server.addr, wire).await;
        let mut send = async |method: Method, path: &str, host: &str| {
            let mut request = get(path, "");
            *request.method_mut() = method;
            *request.uri_mut() = match wire {
                Wire::Http1 => path.parse().expect("a path"),
                Wire::Http2 => format!("http://{host}{path}").parse().expect("a URI"),
            };
            let host = host.parse().expect("a value");
            request.headers_mut().insert("host", host);
            client.send(request).await.expect("an answer")
        };
        for path in ["/metrics", "/usage.json"] {
            let answer = send(Method::GET, path, "localhost").await;
            assert_eq!(answer.status, StatusCode::OK);
            let length = answer.headers["content-length"].clone();
            assert_eq!(length, answer.bytes.len().to_string());
            let head = send(Method::HEAD, path, "localhost").await;
            assert_eq!((head.status, head.bytes.len()), (StatusCode::OK, 0));
            assert_eq!(head.headers["content-type"], answer.headers["content-type"]);
            let lengths: Vec<_> = head.headers.get_all("content-length").iter().collect();
            assert_eq!(lengths.len(), 1, "{wire:?}");
            // The recent past of `/usage.json` may have moved on.
            assert!(path == "/usage.json" || *lengths[0] == length);
            let rebound = send(Method::GET, path, "attacker.example").await;
            assert_eq!(rebound.status, StatusCode::MISDIRECTED_REQUEST);
        }
        let usage = send(Method::GET, "/usage.json", "localhost").await;
        let usage: Value = serde_json::from_slice(&usage.bytes).expect("JSON");
        assert_eq!(usage["services"][0]["name"], HOSTILE);
    }
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
    let server = Server::start(MonitorDashboard::unprotected(monitor.clone())).await;
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
