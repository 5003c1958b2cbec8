//! Tests what an operator does with the page.

use tower_revoke::{Monitor, RequireBearerLayer};
use tower_revoke_tests::{Client, Server, Wire, World, get};

use crate::kit::{Shown, call, counted};

#[tokio::test]
async fn traffic_over_a_socket_appears_with_the_next_poll() {
    let (world, monitor) = (World::new(), Monitor::new());
    let mut shown = Shown::of(&monitor, "").await;
    shown
        .page
        .until("document.body.innerText.includes('Nothing is counted yet.')")
        .await;
    let router = axum::Router::new()
        .route("/orders", axum::routing::get(async || "hello"))
        .layer(RequireBearerLayer::new(world.tokens.clone()))
        .layer(monitor.layer("orders"));
    let service = Server::start(router).await;
    shown.reads("services", "orders", "All calls", "0").await;
    let mut client = Client::connect(service.addr, Wire::Http1).await;
    for token in [world.token(), "wrong".to_owned()] {
        client.send(get("/orders", &token)).await.expect("answers");
    }
    let before = shown.polls().await;
    shown.reads("services", "orders", "All calls", "2").await;
    // It polls every two seconds: one poll may have begun before, so it takes three at most.
    assert!(shown.polls().await - before <= 2);
    let rejected = shown.cell("services", "orders", "Rejected").await;
    assert!(rejected.contains("ever: "), "{rejected}");
    // The step of five seconds in which they ended is over by now, or soon.
    shown
        .page
        .until("document.querySelector('#services .spark path.calls:not(.area)').getAttribute('d').includes('0.040')")
        .await;
    shown.check_sound().await;
}

#[tokio::test]
async fn the_server_sorts_and_filters_and_the_fragment_has_the_state() {
    let monitor = counted().await;
    let mut shown = Shown::of(&monitor, "").await;
    // At first those with the largest share of exceptions.
    shown.names("services", &["stock", "orders"]).await;
    shown.names("upstreams", &["bank"]).await;
    shown.click_head("services", "Calls/s").await;
    shown.names("services", &["orders", "stock"]).await;
    shown.sorted_by("services", "Calls/s").await;
    shown.page.until("location.hash === '#sort=calls'").await;
    let url = format!(
        "{}usage.json?only=&q=&sort=calls&span=300&limit=0",
        shown.url
    );
    assert!(shown.page.requests().await.contains(&url));

    shown.page.click("#q").await;
    shown.page.enter("EVE").await;
    shown.names("services", &["stock"]).await;
    shown.names("upstreams", &[]).await;
    shown
        .page
        .until("location.hash === '#sort=calls&q=EVE'")
        .await;
    shown.page.enter(" nobody").await;
    shown
        .page
        .until("document.body.innerText.includes('Nothing matches “EVE nobody”.')")
        .await;

    // Another window shows the same.
    let url = format!("{}#sort=calls&q=bob&span=60&services=orders", shown.url);
    shown.page.open(&url).await;
    shown.names("clients", &["bob"]).await;
    let span = shown
        .page
        .eval("document.getElementById('span').value")
        .await;
    assert_eq!(span, "60");
    // What is not known there is left out.
    let url = format!("{}#sort=age&span=7", shown.url);
    shown.page.open(&url).await;
    shown.names("services", &["stock", "orders"]).await;
    shown.check_sound().await;
}

#[tokio::test]
async fn a_keyboard_is_enough_to_drill_down_and_back() {
    let monitor = counted().await;
    let mut shown = Shown::of(&monitor, "").await;
    shown.names("services", &["stock", "orders"]).await;
    shown.tab_to("orders").await;
    // A poll takes the focus away neither from a row nor from one that it moves.
    for _ in 0..3 {
        call(&monitor.layer("orders"), "bob", "/orders", 500).await;
    }
    shown.reads("services", "orders", "All calls", "7").await;
    let focused = "document.activeElement.textContent";
    assert_eq!(shown.page.eval(focused).await, "orders");
    shown.page.press("Enter").await;
    shown.names("methods", &["GET /orders"]).await;
    shown.names("clients", &["bob", "ann"]).await;
    let title = "document.getElementById('name').textContent";
    assert_eq!(shown.page.eval(title).await, "orders");
    assert_eq!(shown.cell("clients", "bob", "Failures").await, "1");
    for column in ["Min", "Avg", "Max"] {
        let time = shown.cell("methods", "GET /orders", column).await;
        assert!(time.ends_with('s'), "{time}");
    }
    // Sorting from the head of a table.
    shown.tab_to("Calls").await;
    shown.page.press(" ").await;
    shown.sorted_by("clients", "Calls").await;
    call(&monitor.layer("orders"), "ann", "/orders", 200).await;
    call(&monitor.layer("orders"), "ann", "/orders", 200).await;
    shown.names("clients", &["ann", "bob"]).await;
    shown.page.eval("history.back()").await;
    shown.names("services", &["stock", "orders"]).await;
    shown.check_sound().await;
}

#[tokio::test]
async fn a_pause_stops_the_polls_and_ends_at_once() {
    let monitor = counted().await;
    let mut shown = Shown::of(&monitor, "").await;
    shown.reads("services", "orders", "All calls", "4").await;
    shown.page.click("#pause").await;
    shown.page.until("location.hash === '#paused=1'").await;
    let pressed = "document.getElementById('pause').getAttribute('aria-pressed')";
    assert_eq!(shown.page.eval(pressed).await, "true");
    shown
        .page
        .until("document.getElementById('updated').textContent.startsWith('paused')")
        .await;
    let before = shown.polls().await;
    call(&monitor.layer("orders"), "ann", "/orders", 200).await;
    // More than two intervals.
    let later = "new Promise(done => setTimeout(done, 4_500)).then(() => 1)";
    shown.page.eval(later).await;
    assert_eq!(shown.polls().await, before);
    assert_eq!(shown.cell("services", "orders", "All calls").await, "4");
    shown.page.click("#pause").await;
    shown.reads("services", "orders", "All calls", "5").await;
    shown.check_sound().await;
}
