//! Tests which client a call is counted for.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body_util::Empty;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_core::{
    Authenticated, ClaimNames, Claims, Clock, IdentitySlot, Reason, TokenId, UnixTime,
    VerifiedToken,
};
use tower_revoke_monitor::{Monitor, MonitorLayer, ServiceSnapshot};

use crate::support::*;

fn orders(monitor: &Monitor) -> ServiceSnapshot {
    monitor.snapshot().services["orders"].clone()
}

fn names(service: &ServiceSnapshot) -> Vec<&str> {
    service.clients.keys().map(|name| &**name).collect()
}

async fn call_as(layer: &MonitorLayer, caller: Authenticated) {
    let service = layer.layer(service_fn(|request: Request<()>| {
        identify(&request, caller.clone());
        async { Ok::<_, Infallible>(hello()) }
    }));
    let response = service.oneshot(Request::new(())).await.unwrap();
    drain(response.into_body()).await;
}

#[tokio::test]
async fn the_client_is_named_by_the_chosen_attribute() {
    let claims = json!({"iss": ISSUER, "sub": "ann", "client_id": "app", "n": 7, "list": ["a"]});
    let name = |layer: MonitorLayer| {
        let caller = caller_with(claims.clone());
        async move {
            call_as(&layer, caller).await;
            let service = orders(layer.monitor());
            assert_eq!(service.total.calls(), 1);
            service
                .clients
                .into_keys()
                .next()
                .map(|name| name.to_string())
        }
    };
    let layer = || MonitorLayer::service("orders");
    assert_eq!(name(layer()).await.as_deref(), Some("ann"));
    let claim = |claim: &str| name(layer().client_claim(claim));
    assert_eq!(claim("client_id").await.as_deref(), Some("app"));
    assert_eq!(claim("n").await.as_deref(), Some("7"));
    assert_eq!(claim("list").await, None);
    assert_eq!(claim("none").await, None);
    assert_eq!(name(layer().oauth_client()).await.as_deref(), Some("app"));
    let by = layer().client_by(|caller| caller.issuer().map(Into::into));
    assert_eq!(name(by).await.as_deref(), Some(ISSUER));
    assert_eq!(name(layer().client_by(|_| None)).await, None);
}

#[tokio::test]
async fn the_oauth_client_is_the_one_that_the_verifier_reads() {
    let value = json!({"iss": ISSUER, "sub": "ann", "client_id": "gateway", "cid": "app"});
    let claims = Claims::from_value_with(value, &ClaimNames::default().client("cid")).unwrap();
    let token = VerifiedToken::new(TokenId::of_jwt(ISSUER, "1"), claims, Duration::ZERO);
    let caller = Authenticated::new(Arc::new(token));
    let layer = MonitorLayer::service("orders").oauth_client();
    call_as(&layer, caller.clone()).await;
    call_as(&layer, caller).await;
    assert_eq!(names(&orders(layer.monitor())), ["app"]);
}

#[tokio::test]
async fn a_verified_token_without_the_attribute_is_anonymous() {
    let layer = MonitorLayer::service("orders");
    call_as(&layer, caller_with(json!({"iss": ISSUER}))).await;
    let service = orders(layer.monitor());
    assert_eq!(numbers(&service.anonymous), SUCCESS);
    assert!(service.clients.is_empty());
}

#[tokio::test]
async fn clients_with_unusual_names_are_distinct_from_anonymous() {
    let layer = MonitorLayer::service("orders");
    call(&layer, "", hello()).await;
    call(&layer, "anonymous", hello()).await;
    call(&layer, "other", hello()).await;
    let service = orders(layer.monitor());
    assert_eq!(names(&service), ["anonymous", "other"]);
    assert_eq!(numbers(&service.anonymous), SUCCESS);
    assert_eq!(numbers(&service.other), [0; 6]);
    assert_eq!(numbers(&service.total), [0, 3, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_client_may_be_identified_after_the_call_has_begun() {
    let layer = MonitorLayer::service("orders");
    let (verified, verdict) = tokio::sync::oneshot::channel::<()>();
    let (answered, answer) = tokio::sync::oneshot::channel::<()>();
    let mut channels = Some((verdict, answer));
    let mut service = layer.layer(service_fn(|request: Request<()>| {
        let (verdict, answer) = channels.take().unwrap();
        async move {
            verdict.await.unwrap();
            identify(&request, caller("ann"));
            answer.await.unwrap();
            Ok::<_, Infallible>(hello())
        }
    }));
    let mut future = Box::pin(start(&mut service));
    assert!(poll_once(future.as_mut()).is_pending());
    assert_eq!(orders(layer.monitor()).anonymous.in_flight, 1);
    verified.send(()).unwrap();
    assert!(poll_once(future.as_mut()).is_pending());
    let service = orders(layer.monitor());
    assert_eq!(service.anonymous.in_flight, 0);
    assert_eq!(service.clients["ann"].in_flight, 1);
    assert_eq!(service.total.in_flight, 1);
    answered.send(()).unwrap();
    drain(future.await.unwrap().into_body()).await;
    assert_eq!(numbers(&orders(layer.monitor()).clients["ann"]), SUCCESS);
}

/// The request is in another task, as behind tower's `Buffer`, and is authenticated there.
#[tokio::test]
async fn a_client_identified_after_the_last_poll_is_counted_on_drop() {
    let layer = MonitorLayer::service("orders");
    let mut elsewhere = None;
    let mut service = layer.layer(service_fn(|request: Request<()>| {
        elsewhere = Some(request);
        std::future::pending::<Result<Answer, Infallible>>()
    }));
    let mut future = Box::pin(start(&mut service));
    assert!(poll_once(future.as_mut()).is_pending());
    drop(service);
    identify(&elsewhere.unwrap(), caller("ann"));
    drop(future);
    let service = orders(layer.monitor());
    assert_eq!(numbers(&service.clients["ann"]), CANCELLED);
    assert_eq!(numbers(&service.total), CANCELLED);
}

#[tokio::test]
async fn nested_layers_learn_the_same_caller() {
    let monitor = Monitor::new();
    let all = monitor.layer("all");
    let service = all.layer(
        monitor
            .layer("orders")
            .layer(service_fn(|request: Request<()>| {
                identify(&request, caller("ann"));
                async { Ok::<_, Infallible>(hello()) }
            })),
    );
    let response = service.oneshot(Request::new(())).await.unwrap();
    drain(response.into_body()).await;
    for (name, service) in monitor.snapshot().services {
        assert_eq!(numbers(&service.clients["ann"]), SUCCESS, "{name}");
    }
}

#[tokio::test]
async fn layers_that_name_clients_differently_keep_them_apart() {
    let monitor = Monitor::new();
    let by_tenant = monitor.layer("tenants").client_claim("tenant");
    let by_rule = monitor
        .layer("rules")
        .client_by(|caller| caller.subject().map(Into::into));
    let ann = caller_with(json!({"iss": ISSUER, "sub": "ann", "tenant": "acme"}));
    for _ in 0..2 {
        let service = monitor
            .layer("orders")
            .layer(
                by_tenant.layer(by_rule.layer(service_fn(|request: Request<()>| {
                    identify(&request, ann.clone());
                    async { Ok::<_, Infallible>(hello()) }
                }))),
            );
        let response = service.oneshot(Request::new(())).await.unwrap();
        drain(response.into_body()).await;
    }
    let services = monitor.snapshot().services;
    for (service, client) in [("orders", "ann"), ("tenants", "acme"), ("rules", "ann")] {
        let clients = &services[service].clients;
        assert_eq!(clients.len(), 1, "{service}");
        assert_eq!(clients[client].success, 2, "{service}");
    }
}

#[tokio::test]
async fn a_route_inside_of_the_bearer_layer_knows_its_caller() {
    let layer = MonitorLayer::service("orders");
    let service = layer.layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
    }));
    let mut request = Request::new(());
    request.extensions_mut().insert(caller("ann"));
    service.oneshot(request).await.unwrap();
    assert_eq!(numbers(&orders(layer.monitor()).clients["ann"]), SUCCESS);
}

#[tokio::test]
async fn layers_with_one_name_share_their_counts() {
    let monitor = Monitor::new();
    call(&monitor.layer("orders"), "ann", hello()).await;
    call(&monitor.clone().layer("orders"), "ann", hello()).await;
    call(&monitor.layer("invoices"), "ann", hello()).await;
    let snapshot = monitor.snapshot();
    assert_eq!(snapshot.services["orders"].clients["ann"].success, 2);
    assert_eq!(snapshot.services["invoices"].clients["ann"].success, 1);
}

#[tokio::test]
async fn a_snapshot_is_plain_data() {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000));
    let layer = Monitor::builder().clock(clock).build().layer("orders");
    let mut service = layer.layer(service_fn(|request: Request<()>| {
        identify(&request, caller("ann"));
        async { Ok::<_, Infallible>(hello()) }
    }));
    let response = start(&mut service).await.unwrap();
    hand.advance(Duration::from_millis(1_500));
    drain(response.into_body()).await;
    let json = serde_json::to_value(layer.monitor().snapshot()).unwrap();
    let ann = &json["services"]["orders"]["clients"]["ann"];
    assert_eq!(ann["success"], 1);
    assert_eq!(ann["latency"]["min_seconds"], 1.5);
    assert_eq!(ann["latency"]["buckets"][21], 1);
    let nobody = &json["services"]["orders"]["anonymous"]["latency"];
    assert_eq!(nobody["min_seconds"], Value::Null);
}

/// fogo-sessions 618: a scan created 179,000 series.
#[tokio::test]
async fn trap_15_a_scan_with_unknown_tokens_adds_no_client() {
    const SCAN: u64 = 200_000;
    let layer = MonitorLayer::service("orders");
    let service = layer.layer(service_fn(|request: Request<()>| async move {
        // A bearer layer reports nothing about an invalid token; its claims are only in the
        // request.
        assert!(request.headers().contains_key("authorization"));
        let reason = Reason::BadSignature;
        Ok::<_, Infallible>(rejected(reason))
    }));
    for claimed in 0..SCAN {
        let request = Request::builder()
            .header("authorization", format!("Bearer forged-{claimed}"))
            .body(())
            .unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        drain(response.into_body()).await;
    }
    let service = orders(layer.monitor());
    assert!(service.clients.is_empty());
    assert_eq!(numbers(&service.other), [0; 6]);
    assert_eq!(service.anonymous.rejected_by["bad_signature"], SCAN);
    assert_eq!(service.total, service.anonymous);
}

#[tokio::test]
async fn trap_15_verified_clients_keep_to_the_cap_and_no_call_is_lost() {
    let layer = MonitorLayer::service("orders");
    for client in 0..20_000 {
        call(&layer, &format!("client-{client}"), hello()).await;
    }
    let service = orders(layer.monitor());
    assert_eq!(service.clients.len(), 10_000);
    assert_eq!(service.other.success, 10_000);
    assert_eq!(service.total.success, 20_000);
    assert_eq!(service.total.latency.count(), 20_000);
    assert_eq!(service.total.in_flight, 0);
    // The least recently seen clients were evicted.
    assert!(service.clients.contains_key("client-19999"));
    assert!(!service.clients.contains_key("client-0"));
}

/// The client of an endpoint, which has authenticated by a secret.
#[tokio::test]
async fn a_client_without_a_token_is_named_where_no_claim_is_asked_for() {
    let layer = || MonitorLayer::service("orders");
    for (layer, is_named) in [
        (layer(), true),
        (layer().oauth_client(), true),
        (layer().client_claim("client_id"), false),
        (layer().client_by(|_| Some("any".into())), false),
    ] {
        let service = layer.layer(service_fn(|request: Request<()>| {
            let slot = request.extensions().get::<IdentitySlot>();
            slot.expect("a slot").fill_client("shop");
            std::future::ready(Ok::<_, Infallible>(hello()))
        }));
        let response = service.oneshot(Request::new(())).await.expect("an answer");
        drain(response.into_body()).await;
        let counted = orders(layer.monitor());
        let expected: &[&str] = if is_named { &["shop"] } else { &[] };
        assert_eq!(names(&counted), expected);
        assert_eq!(counted.anonymous.success, u64::from(!is_named));
        assert_eq!(numbers(&counted.total), SUCCESS);
    }
}
