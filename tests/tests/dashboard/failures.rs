//! Tests what the page does without a token, without a server, and what it says of failing parts.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use http::Request;
use tower::{layer::layer_fn, util::MapRequest};
use tower_revoke::{HealthCheck, HealthSource, HealthStatus, MonitorDashboard, RequireBearerLayer};
use tower_revoke_testing::Behavior;
use tower_revoke_tests::{Server, World};

use crate::kit::{Shown, call, counted};

const SAYS: &str = "document.getElementById('connection').textContent";

#[tokio::test]
async fn it_recovers_when_the_server_restarts() {
    let monitor = counted().await;
    let mut shown = Shown::of(&monitor, "sort=calls").await;
    shown.reads("services", "orders", "All calls", "4").await;
    let addr = shown.server.addr;
    drop(std::mem::replace(
        &mut shown.server,
        Server::start(axum::Router::new()).await,
    ));
    shown
        .page
        .until(&format!("{SAYS}.startsWith('Disconnected since ')"))
        .await;
    // What was shown stays, and is said to be old.
    assert_eq!(shown.cell("services", "orders", "All calls").await, "4");
    let is_stale = "document.querySelector('main').className";
    assert_eq!(shown.page.eval(is_stale).await, "stale");
    call(&monitor.layer("orders"), "ann", "/orders", 200).await;
    let dashboard = MonitorDashboard::unprotected(monitor.clone());
    shown.server = Server::start_at(addr, dashboard).await;
    shown.reads("services", "orders", "All calls", "5").await;
    assert_eq!(shown.page.eval(SAYS).await, "");
    assert_eq!(shown.page.eval(is_stale).await, "");
    // The browser itself logs requests that fail.
    for fault in shown.page.faults().await {
        assert!(fault.starts_with("network: "), "{fault}");
    }
    shown.asked_nobody_else().await;
}

#[tokio::test]
async fn it_asks_for_a_token_and_keeps_it_in_memory_only() {
    let world = World::new();
    let guard = RequireBearerLayer::new(world.tokens.clone()).scope("monitoring");
    let dashboard = MonitorDashboard::new(counted().await, guard);
    let mut shown = Shown::at(Server::start(dashboard).await, "services=orders").await;
    shown
        .page
        .until(&format!("{SAYS} === 'Sign in to see the monitor.'"))
        .await;
    let focused = "document.activeElement.id === 'token'";
    assert_eq!(shown.page.eval(focused).await, true);
    let is_hidden = "document.getElementById('data').hidden";
    assert_eq!(shown.page.eval(is_hidden).await, true);
    let good = world
        .issuer
        .token()
        .audience("api")
        .scope("monitoring")
        .sign();
    for (token, said) in [
        ("nonsense", "The token was rejected: 401."),
        (&world.token(), "The token was rejected: 403."),
        (&good, ""),
    ] {
        shown.page.enter(token).await;
        shown.page.press("Enter").await;
        shown.page.until(&format!("{SAYS} === '{said}'")).await;
    }
    shown.names("clients", &["ann", "bob"]).await;
    let stored = "document.cookie.length + localStorage.length + sessionStorage.length";
    assert_eq!(shown.page.eval(stored).await, 0);
    let kept = "[document.documentElement.outerHTML, document.getElementById('token').value, location.href].join()";
    let kept = shown.page.eval(kept).await.to_string();
    assert!(!kept.contains(&good));
    for url in shown.page.requests().await {
        assert!(!url.contains(&good), "{url}");
    }
    let url = shown.url.clone();
    shown.page.open(&url).await;
    shown
        .page
        .until(&format!("{SAYS} === 'Sign in to see the monitor.'"))
        .await;
    // Another scheme is a whole value.
    shown.page.enter(&format!("bearer  {good}")).await;
    shown.page.click("#sign-in button").await;
    shown.names("services", &["stock", "orders"]).await;
    for fault in shown.page.faults().await {
        assert!(
            fault.starts_with("network: ") && fault.contains(" 40"),
            "{fault}"
        );
    }
    shown.asked_nobody_else().await;
}

#[tokio::test]
async fn it_says_what_the_server_responds_and_goes_on() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let breaks = is_broken.clone();
    let guard = layer_fn(move |reports| {
        let breaks = breaks.clone();
        MapRequest::new(reports, move |mut request: Request<_>| {
            if breaks.load(SeqCst) {
                *request.uri_mut() = http::Uri::from_static("/usage.json?bad=1");
            }
            request
        })
    });
    let dashboard = MonitorDashboard::new(counted().await, guard);
    let mut shown = Shown::at(Server::start(dashboard).await, "").await;
    shown.names("services", &["stock", "orders"]).await;
    is_broken.store(true, SeqCst);
    let said =
        "The server responded with 400: the query parameter \"bad\" is unknown. Trying again.";
    shown.page.until(&format!("{SAYS} === '{said}'")).await;
    is_broken.store(false, SeqCst);
    shown.page.until(&format!("{SAYS} === ''")).await;
}

struct OldKeys;

impl HealthSource for OldKeys {
    fn health(&self) -> Vec<HealthCheck> {
        vec![HealthCheck::new(
            "keys",
            HealthStatus::Warn,
            "fetching fails",
        )]
    }
}

#[tokio::test]
async fn the_banner_tells_whether_tokens_are_checked() {
    let (world, monitor) = (World::new(), counted().await);
    let mut shown = Shown::of(&monitor, "").await;
    let banner = "document.getElementById('enforcing').textContent";
    shown
        .page
        .until(&format!("{banner}.startsWith('? No health checks')"))
        .await;
    world.list.ready().await.expect("a store");
    monitor.add_health(world.list.clone());
    shown
        .page
        .until(&format!("{banner} === '✓ Enforcing: all checks pass'"))
        .await;
    let checks = "[...document.querySelectorAll('#checks b')].map(it => it.textContent).join()";
    assert_eq!(shown.page.eval(checks).await, "list,store,feed");
    world.store.set_all(Behavior::Fails);
    world.list.ready().await.expect_err("a failure");
    shown
        .page
        .until(&format!("{banner} === '✗ Failing: store'"))
        .await;
    assert_eq!(shown.page.eval("document.title").await, "✗ Failing: store");
    let store = "document.querySelector('#checks li.fail').innerText";
    let store = shown.page.eval(store).await.to_string();
    assert!(
        store.contains("does not answer") && store.contains("since "),
        "{store}"
    );
    world.store.set_all(Behavior::Works);
    world.list.ready().await.expect("a store");
    shown
        .page
        .until(&format!("{banner} === '✓ Enforcing: all checks pass'"))
        .await;
    monitor.add_health(OldKeys);
    shown
        .page
        .until(&format!("{banner} === '! Enforcing, with warnings: keys'"))
        .await;
    shown.check_sound().await;
}
