//! Tests what is counted by method and upstream, and what can be switched off.

use std::{convert::Infallible, time::Duration};

use http::{Method, Request, Response, Version};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_revoke_core::{Clock, Reason, UnixTime};
use tower_revoke_monitor::{Counted, Monitor, MonitorLayer, ServiceSnapshot};
use tower_revoke_testing::ScriptedBody;

use crate::support::*;

#[derive(Clone)]
struct Route(&'static str);

fn routed(monitor: &Monitor) -> MonitorLayer {
    let layer = monitor.layer("orders");
    layer.route_by(|extensions| Some(extensions.get::<Route>()?.0))
}

fn orders(monitor: &Monitor) -> ServiceSnapshot {
    monitor.snapshot().services["orders"].clone()
}

fn names(monitor: &Monitor) -> Vec<String> {
    let names = orders(monitor).methods.into_keys();
    names.map(|name| name.to_string()).collect()
}

fn request(method: &str, route: Option<&'static str>) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method.parse().expect("a method");
    if let Some(route) = route {
        request.extensions_mut().insert(Route(route));
    }
    request
}

/// Sends a request to a service that gives this response, and reads it to its end.
async fn send(layer: &MonitorLayer, request: Request<()>, answer: Answer) {
    let mut answer = Some(answer);
    let service = layer.layer(service_fn(|_: Request<()>| {
        std::future::ready(Ok::<_, Infallible>(answer.take().expect("one call")))
    }));
    let response = service.oneshot(request).await.expect("an answer");
    drain(response.into_body()).await;
}

fn answer(status: u16) -> Answer {
    let mut answer = hello();
    *answer.status_mut() = status.try_into().expect("a status");
    answer
}

#[tokio::test]
async fn calls_are_counted_by_http_method_and_route() {
    let monitor = Monitor::new();
    let layer = routed(&monitor);
    for (method, route) in [
        ("GET", Some("/orders/{id}")),
        ("GET", Some("/orders/{id}")),
        ("PUT", Some("/orders/{id}")),
        ("GET", Some("/")),
        ("GET", None),
        // Anybody can invent a method.
        ("BREW", Some("/")),
        ("STEAL", Some("/")),
    ] {
        send(&layer, request(method, route), hello()).await;
    }
    let expected = [
        "GET",
        "GET /",
        "GET /orders/{id}",
        "OTHER /",
        "PUT /orders/{id}",
    ];
    assert_eq!(names(&monitor), expected);
    let orders = orders(&monitor);
    let counted = expected.map(|name| orders.methods[name].success);
    assert_eq!(counted, [1, 1, 2, 2, 1]);
    assert_eq!(numbers(&orders.other_methods), [0; 6]);
    assert_eq!(orders.methods["GET /"].latency.count(), 1);
    assert!(orders.methods["GET /"].latency.max.is_some());
}

/// Behind a router, each route has clones of a service of its own; without one they share a service.
#[tokio::test]
async fn one_service_tells_its_methods_apart() {
    let monitor = Monitor::new();
    let mut service = routed(&monitor).layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(hello())
    }));
    for _ in 0..2 {
        for method in ["GET", "PUT", "GET", "DELETE"] {
            let response = service.call(request(method, Some("/"))).await.unwrap();
            drain(response.into_body()).await;
        }
    }
    let orders = orders(&monitor);
    let counted = ["DELETE /", "GET /", "PUT /"].map(|name| orders.methods[name].success);
    assert_eq!(counted, [2, 4, 2]);
    // Another layer of the same service finds what is known.
    send(&routed(&monitor), request("PUT", Some("/")), answer(404)).await;
    assert_eq!(self::orders(&monitor).methods["PUT /"].failure, 1);
}

#[tokio::test]
async fn a_scan_adds_no_method() {
    let monitor = Monitor::new();
    let layer = routed(&monitor);
    // Unknown paths have no route; known ones don't know each method.
    send(&layer, request("GET", None), answer(404)).await;
    send(&layer, request("TRACE", Some("/")), answer(405)).await;
    send(&layer, request("PATCH", Some("/")), answer(501)).await;
    let rejecting = layer.layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(rejected(Reason::NoToken))
    }));
    let response = rejecting.oneshot(request("GET", Some("/"))).await.unwrap();
    drop(response);
    let failing = layer.layer(service_fn(|_: Request<()>| async {
        Err::<Answer, _>("down")
    }));
    failing
        .oneshot(request("GET", Some("/")))
        .await
        .unwrap_err();
    assert_eq!(names(&monitor), [""; 0]);
    assert_eq!(numbers(&orders(&monitor).other_methods), [0, 0, 2, 2, 0, 1]);
    // A handler's own 404 is an answer of a known method.
    send(&layer, request("GET", Some("/orders/{id}")), answer(404)).await;
    assert_eq!(names(&monitor), ["GET /orders/{id}"]);
}

fn grpc(path: &str) -> Request<()> {
    let request = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc");
    request.uri(path).body(()).expect("a request")
}

fn grpc_answer(status: Option<&str>) -> Answer {
    let mut head = Response::builder().header("content-type", "application/grpc");
    if let Some(status) = status {
        head = head.header("grpc-status", status);
    }
    head.body(ScriptedBody::new().data("x"))
        .expect("a response")
}

#[tokio::test]
async fn a_scan_of_grpc_methods_adds_none() {
    let monitor = Monitor::new();
    let layer = monitor.layer("orders");
    for number in 0..1_000 {
        let path = format!("/shop.Orders/Guess{number}");
        send(&layer, grpc(&path), grpc_answer(Some("12"))).await;
    }
    send(&layer, grpc("/shop.Orders/Get"), grpc_answer(None)).await;
    send(&layer, grpc("/shop.Orders/Get"), grpc_answer(Some("5"))).await;
    assert_eq!(names(&monitor), ["shop.Orders/Get"]);
    let orders = orders(&monitor);
    assert_eq!(
        numbers(&orders.methods["shop.Orders/Get"]),
        [0, 1, 1, 0, 0, 0]
    );
    assert_eq!(orders.other_methods.exception, 1_000);
}

/// Anybody can call a service of pages and JSON as if it were one of gRPC.
#[tokio::test]
async fn a_scan_in_grpc_form_of_another_service_adds_none() {
    let monitor = Monitor::new();
    let layer = monitor.layer("orders");
    for (number, status) in [200, 400, 404, 415].into_iter().enumerate() {
        let head = Response::builder().status(status);
        let head = head.header("content-type", "application/json");
        let answer = head.body(ScriptedBody::new().data("{}")).expect("valid");
        send(&layer, grpc(&format!("/guess/{number}")), answer).await;
    }
    assert_eq!(names(&monitor), [""; 0]);
    assert_eq!(orders(&monitor).other_methods.calls(), 4);
}

#[tokio::test]
async fn methods_keep_to_their_capacity_and_no_call_is_lost() {
    let monitor = Monitor::builder().method_capacity(2).build();
    let layer = routed(&monitor);
    for method in ["GET", "PUT", "POST", "GET", "POST"] {
        send(&layer, request(method, Some("/")), hello()).await;
    }
    let too_long = "/".repeat(300).leak();
    send(&layer, request("GET", Some(too_long)), hello()).await;
    assert_eq!(names(&monitor), ["GET /", "PUT /"]);
    assert_eq!(orders(&monitor).other_methods.success, 3);
    assert_eq!(orders(&monitor).total.success, 6);
}

#[tokio::test]
async fn bytes_are_counted_in_and_out() {
    let monitor = Monitor::new();
    let layer = monitor.layer("orders");
    let mut upload = request("POST", None);
    let headers = upload.headers_mut();
    headers.insert("content-length", 1_000.into());
    send(&layer, upload, hello()).await;
    let streamed = ScriptedBody::new().data("some").data("more").fail();
    send(&layer, request("GET", None), Response::new(streamed)).await;
    let orders = orders(&monitor);
    assert_eq!((orders.total.bytes_in, orders.total.bytes_out), (1_000, 13));
    let [get, post] = ["GET", "POST"].map(|name| &orders.methods[name]);
    assert_eq!((get.bytes_in, get.bytes_out), (0, 8));
    assert_eq!((post.bytes_in, post.bytes_out), (1_000, 5));
}

/// An announced length costs the caller nothing.
#[tokio::test]
async fn announced_lengths_that_nobody_sends_overflow_nothing() {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000_000));
    let monitor = Monitor::builder().clock(clock).build();
    let layer = monitor.layer("orders");
    for _ in 0..3 {
        let mut upload = request("POST", None);
        let headers = upload.headers_mut();
        headers.insert("content-length", u64::MAX.into());
        send(&layer, upload, hello()).await;
        hand.advance(Duration::from_secs(5));
    }
    assert_eq!(orders(&monitor).total.bytes_in, 3 << 40);
    let history = monitor.history(Duration::from_secs(60));
    assert_eq!(history.services["orders"].all.total.bytes_in, 3 << 40);
}

#[cfg(feature = "axum-08")]
#[tokio::test]
async fn the_matched_path_of_axum_is_the_route() {
    use axum_08::{Router, body::Body, routing::get};

    let monitor = Monitor::new();
    let router: Router = Router::new()
        .route(
            "/orders/{id}",
            get(async || "an order").post(async || "changed"),
        )
        .layer(monitor.layer("orders"));
    for (method, path) in [
        ("GET", "/orders/1"),
        ("GET", "/orders/2"),
        ("POST", "/orders/2"),
        ("DELETE", "/orders/2"),
        ("GET", "/.env"),
        ("GET", "/orders/1/2"),
    ] {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        drain(response.into_body()).await;
    }
    assert_eq!(names(&monitor), ["GET /orders/{id}", "POST /orders/{id}"]);
    assert_eq!(orders(&monitor).methods["GET /orders/{id}"].success, 2);
}

#[tokio::test]
async fn upstreams_are_counted_beside_services_of_the_same_name() {
    let monitor = Monitor::new();
    call(&monitor.layer("stock"), "ann", hello()).await;
    call(&monitor.upstream("stock"), "", answer(503)).await;
    let snapshot = monitor.snapshot();
    assert_eq!(numbers(&snapshot.services["stock"].total), SUCCESS);
    assert_eq!(numbers(&snapshot.upstreams["stock"].total), EXCEPTION);
    assert_eq!(
        numbers(&snapshot.upstreams["stock"].methods["GET"]),
        EXCEPTION
    );
}

#[tokio::test]
async fn the_client_may_come_from_the_request() {
    #[derive(Clone)]
    struct Certificate(&'static str);

    let monitor = Monitor::new();
    let layer = monitor
        .layer("orders")
        .client_of_request(|extensions| Some(extensions.get::<Certificate>()?.0.into()));
    for subject in ["CN=shop", ""] {
        let mut request = Request::new(());
        if !subject.is_empty() {
            request.extensions_mut().insert(Certificate(subject));
        }
        // A token's subject is not asked for.
        request.extensions_mut().insert(caller("ann"));
        send(&layer, request, hello()).await;
    }
    let orders = orders(&monitor);
    assert_eq!(
        orders
            .clients
            .keys()
            .map(|name| &**name)
            .collect::<Vec<_>>(),
        ["CN=shop"]
    );
    assert_eq!(numbers(&orders.clients["CN=shop"]), SUCCESS);
    assert_eq!(numbers(&orders.anonymous), SUCCESS);
}

#[tokio::test]
async fn each_part_can_be_switched_off_and_on_without_losing_counts() {
    let monitor = Monitor::new();
    let layer = monitor.layer("orders");
    let of_ann = || {
        let mut request = Request::new(());
        request.extensions_mut().insert(caller("ann"));
        request
    };
    let totals = || {
        let orders = orders(&monitor);
        let by_client = orders.clients.get("ann").map_or(0, |ann| ann.success);
        let by_method = orders.methods.get("GET").map_or(0, |get| get.success);
        (orders.total.success, by_client, by_method)
    };
    send(&layer, of_ann(), hello()).await;
    assert_eq!(totals(), (1, 1, 1));
    monitor.count(Counted::Clients, false);
    send(&layer, of_ann(), hello()).await;
    assert_eq!(totals(), (2, 1, 2));
    assert_eq!(numbers(&orders(&monitor).other), SUCCESS);
    monitor.count(Counted::Clients, true);
    monitor.count(Counted::Methods, false);
    send(&layer, of_ann(), hello()).await;
    assert_eq!(totals(), (3, 2, 2));
    assert_eq!(numbers(&orders(&monitor).other_methods), SUCCESS);
    monitor.count(Counted::Methods, true);

    // A call that has begun is counted to its end.
    let mut service = layer.layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(hello())
    }));
    let begun = start(&mut service).await.unwrap();
    monitor.count(Counted::Services, false);
    let uncounted = start(&mut service).await.unwrap();
    send(&layer, of_ann(), hello()).await;
    assert_eq!(orders(&monitor).total.in_flight, 1);
    drain(begun.into_body()).await;
    drain(uncounted.into_body()).await;
    assert_eq!(totals(), (4, 2, 3));
    // Upstreams are not services.
    call(&monitor.upstream("stock"), "", hello()).await;
    assert_eq!(
        numbers(&monitor.snapshot().upstreams["stock"].total),
        SUCCESS
    );
    monitor.count(Counted::Services, true);
    send(&layer, of_ann(), hello()).await;
    assert_eq!(totals(), (5, 3, 4));
    assert_eq!(orders(&monitor).total.in_flight, 0);
}
