//! Tests the dashboard: its reports, who may read them, and by which hosts.

use std::convert::Infallible;

use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_revoke_bearer::RequireBearerLayer;
use tower_revoke_core::{Authenticated, BearerToken, Reason, Rejection, TokenVerifier};
use tower_revoke_monitor::{
    Monitor, MonitorDashboard, MonitorReports, OPEN_METRICS_TYPE, PROMETHEUS_TYPE,
};

use crate::support::*;

/// A hundred and five clients, of whom one had a failure.
async fn counted() -> Monitor {
    let monitor = Monitor::new();
    let layer = monitor.layer("orders");
    for number in 0..105 {
        call(&layer, &format!("client {number}"), hello()).await;
    }
    let mut missing = hello();
    *missing.status_mut() = StatusCode::NOT_FOUND;
    call(&layer, "Ann", missing).await;
    monitor
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: HeaderName) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str());
        value.map_or("", |value| value.expect("text"))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }
}

async fn send<S, R>(service: &S, request: http::request::Builder) -> Answer
where
    S: Service<Request<()>, Response = Response<R>, Error = Infallible> + Clone,
    R: http_body::Body<Error = Infallible>,
{
    let request = request.body(()).expect("a request");
    let Ok(response) = service.clone().oneshot(request).await;
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        text: String::from_utf8(bytes.to_vec()).expect("UTF-8"),
    }
}

fn get(path: &str) -> http::request::Builder {
    Request::get(path).header(header::HOST, "127.0.0.1:9100")
}

async fn open() -> MonitorDashboard<MonitorReports> {
    MonitorDashboard::unprotected(counted().await)
}

#[tokio::test]
async fn metrics_are_in_the_format_that_is_accepted() {
    let dashboard = open().await;
    // The third is what Prometheus 3 sends, the fourth what it sends if it prefers the text format.
    for (accept, media) in [
        ("", PROMETHEUS_TYPE),
        ("*/*", PROMETHEUS_TYPE),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            OPEN_METRICS_TYPE,
        ),
        (
            "text/plain;version=0.0.4;q=0.6, application/openmetrics-text;version=1.0.0;q=0.5, */*;q=0.2",
            PROMETHEUS_TYPE,
        ),
        ("application/openmetrics-text", OPEN_METRICS_TYPE),
        ("application/openmetrics-text;q=0", PROMETHEUS_TYPE),
        ("Application/OpenMetrics-Text; q=nonsense", PROMETHEUS_TYPE),
    ] {
        let answer = send(&dashboard, get("/metrics").header(header::ACCEPT, accept)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header(header::CONTENT_TYPE), media, "{accept}");
        let total = r#"tower_revoke_requests_total{service="orders",outcome="success"} 105"#;
        assert!(answer.text.contains(total), "{}", answer.text);
        let is_open_metrics = answer.text.ends_with("# EOF\n");
        assert_eq!(is_open_metrics, media == OPEN_METRICS_TYPE, "{accept}");
    }
}

#[tokio::test]
async fn usage_is_sorted_filtered_and_cut_as_the_query_asks() {
    let dashboard = open().await;
    let clients = |answer: Answer| {
        assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
        let usage = answer.json();
        let service = &usage["services"][0];
        let clients = service["clients"].as_array().expect("clients").clone();
        let names = clients.into_iter().map(|one| one["name"].clone());
        let names: Vec<_> = names.collect();
        (names, service["clients_found"].clone())
    };
    let (names, found) = clients(send(&dashboard, get("/usage.json")).await);
    assert_eq!((names.len(), found), (100, 106.into()));
    let path = "/usage.json?sort=failure&limit=2&span=60&steps=12&q=";
    let (names, found) = clients(send(&dashboard, get(path)).await);
    assert_eq!((names.len(), found), (2, 106.into()));
    assert_eq!(names[0], "Ann");
    let path = "/usage.json?q=cLiEnT+10&sort=name";
    let (names, _) = clients(send(&dashboard, get(path)).await);
    let expected = ["10", "100", "101", "102", "103", "104"];
    assert_eq!(names, expected.map(|number| format!("client {number}")));
}

#[tokio::test]
async fn a_bad_query_parameter_is_named() {
    let dashboard = open().await;
    for (path, said) in [
        ("/usage.json?page=2", "\"page\" is unknown"),
        ("/usage.json?sort=age", "\"sort\" must be a column, "),
        (
            "/usage.json?limit=1001",
            "\"limit\" must be a number from 0",
        ),
        ("/usage.json?limit=-1", "\"limit\" must be a number from 0"),
        ("/usage.json?span=4", "\"span\" must be a number of seconds"),
        ("/usage.json?span=", "\"span\" must be a number of seconds"),
        ("/usage.json?steps=721", "\"steps\" must be a number from 0"),
        ("/usage.json?q=a&q=b", "\"q\" is there twice"),
        ("/usage.json?%0A%00", "\"\\n\\0\" is unknown"),
        ("/metrics?name[]=a", "\"name[]\" is unknown"),
    ] {
        let answer = send(&dashboard, get(path)).await;
        assert_eq!(answer.status, 400, "{path}");
        let said = format!("the query parameter {said}");
        assert!(answer.text.starts_with(&said), "{path}: {}", answer.text);
        assert_eq!(answer.text.lines().count(), 1);
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_and_nothing_may_be_cached() {
    let dashboard = open().await;
    for (path, method, status) in [
        ("/metrics", "GET", 200),
        ("/metrics?", "HEAD", 200),
        ("/usage.json", "HEAD", 200),
        ("/usage.json", "POST", 405),
        ("/metrics", "OPTIONS", 405),
        ("/metrics/", "GET", 404),
        ("/other", "GET", 404),
        ("/", "HEAD", 200),
        ("/", "POST", 405),
        ("/dashboard.js", "HEAD", 200),
        ("/dashboard.css", "DELETE", 405),
        ("/usage.json?page=2", "GET", 400),
    ] {
        let answer = send(&dashboard, get(path).method(method)).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
        assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        let policy = HeaderName::from_static("cross-origin-resource-policy");
        assert_eq!(answer.header(policy), "same-origin");
        let allow = if status == 405 { "GET, HEAD" } else { "" };
        assert_eq!(answer.header(header::ALLOW), allow);
        if method == "HEAD" {
            let got = send(&dashboard, get(path)).await;
            assert_eq!(answer.text, "");
            let media = header::CONTENT_TYPE;
            assert_eq!(answer.header(media.clone()), got.header(media));
            let length = got.text.len().to_string();
            assert_eq!(answer.header(header::CONTENT_LENGTH), length);
        }
    }
}

#[tokio::test]
async fn only_addresses_localhost_and_named_hosts_reach_it() {
    let dashboard = open().await.host("Metrics.example.com").host("b");
    for (hosts, is_allowed) in [
        (&["127.0.0.1:9100"][..], true),
        (&["192.0.2.7"], true),
        (&["[::1]:9100"], true),
        (&["LocalHost:1"], true),
        (&["metrics.example.COM:9100"], true),
        (&["b"], true),
        (&[], false),
        (&[""], false),
        (&["attacker.example"], false),
        (&["127.0.0.1.attacker.example"], false),
        (&["metrics.example.com.attacker.example"], false),
        (&["x@localhost"], false),
        (&["localhost/"], false),
        (&["localhost", "attacker.example"], false),
        (&["\u{e9}"], false),
    ] {
        let mut request = Request::get("/metrics");
        for host in hosts {
            request = request.header(header::HOST, host.as_bytes());
        }
        let answer = send(&dashboard, request).await;
        let expected = if is_allowed { 200 } else { 421 };
        assert_eq!(answer.status, expected, "{hosts:?}");
        assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
        assert_eq!(answer.text.contains("orders"), is_allowed);
    }
    // As HTTP/2 has it.
    for (uri, host, status) in [
        ("http://localhost:9100/metrics", None, 200),
        ("http://attacker.example/metrics", None, 421),
        ("http://attacker.example/metrics", Some("localhost"), 421),
        ("http://localhost/metrics", Some("attacker.example"), 421),
    ] {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        assert_eq!(send(&dashboard, request).await.status, status, "{uri}");
    }
}

#[tokio::test]
async fn the_page_is_public_names_nothing_and_loads_nothing_from_elsewhere() {
    let guarded = MonitorDashboard::new(counted().await, RequireBearerLayer::new(Nobody));
    for (path, media) in [
        ("/", "text/html; charset=utf-8"),
        ("/dashboard.css", "text/css; charset=utf-8"),
        ("/dashboard.js", "text/javascript; charset=utf-8"),
    ] {
        let answer = send(&guarded, get(path)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header(header::CONTENT_TYPE), media);
        let policy = answer.header(header::CONTENT_SECURITY_POLICY);
        let directives: Vec<_> = policy.split("; ").collect();
        for directive in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(directives.contains(&directive), "{policy}");
        }
        assert!(!policy.contains("unsafe"));
        assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
        assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        let policy = HeaderName::from_static("cross-origin-resource-policy");
        assert_eq!(answer.header(policy), "same-origin");
        assert_eq!(answer.header(header::REFERRER_POLICY), "no-referrer");
        assert!(!answer.text.contains("orders"));
        let elsewhere = answer.text.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("http"), "{path}");
        let rebound = Request::get(path).header(header::HOST, "attacker.example");
        assert_eq!(send(&guarded, rebound).await.status, 421);
    }
}

/// Accepts no token.
struct Nobody;

impl TokenVerifier for Nobody {
    async fn verify(&self, _: &BearerToken) -> Result<Authenticated, Rejection> {
        Err(Reason::Expired.into())
    }
}

#[tokio::test]
async fn the_guard_decides_who_reads() {
    let monitor = counted().await;
    let guarded = MonitorDashboard::new(monitor.clone(), RequireBearerLayer::new(Nobody));
    for path in ["/metrics", "/usage.json", "/other"] {
        let without = send(&guarded, get(path)).await;
        let wrong = get(path).header(header::AUTHORIZATION, "Bearer wrong");
        let wrong = send(&guarded, wrong).await;
        for answer in [without, wrong] {
            assert_eq!(answer.status, 401);
            assert!(answer.headers.contains_key(header::WWW_AUTHENTICATE));
            assert!(!answer.text.contains("orders"));
        }
    }
    // The host is looked at first.
    let rebound = Request::get("/metrics").header(header::HOST, "attacker.example");
    assert_eq!(send(&guarded, rebound).await.status, 421);
    // Any layer will do.
    let guard = ServiceBuilder::new().map_request(|mut request: Request<()>| {
        *request.uri_mut() = http::Uri::from_static("/forbidden");
        request
    });
    let guarded = MonitorDashboard::new(monitor, guard.into_inner());
    assert_eq!(send(&guarded, get("/metrics")).await.status, 404);
}
