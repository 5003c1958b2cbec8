//! What a browser's EventSource and WebSocket see, in headless Chromium.

use std::time::Duration;

use serde_json::{Value, json};
use tower_revoke::{Revocation, RevocationKey, TokenLifetimeLayer};
use tower_revoke_tests::chromium::{Chromium, Page};

use crate::kit::{App, ISSUER};

const LISTEN: &str = "
    window.told = [];
    window.source = new EventSource('/events');
    source.onmessage = () => { window.ticked = true };
    source.addEventListener('token-ended', (event) => told.push(event.data));
    source.onerror = () => told.push(source.readyState);
    0";

const CHAT: &str = "
    window.socket = new WebSocket(`ws://${location.host}/chat`);
    socket.onopen = () => socket.send('hello');
    socket.onmessage = (message) => { window.heard = message.data };
    socket.onclose = (close) => { window.shut = [close.code, close.reason, close.wasClean] };
    0";

/// Opens a page of the server, whose cookie has the token.
async fn page(browser: &Chromium, app: &App, token: &str) -> Page {
    let mut page = browser.page().await;
    page.open(&format!("http://{}/", app.at)).await;
    page.eval(&format!("document.cookie = 'token={token}'"))
        .await;
    page
}

/// What an `EventSource` was told: the event, that it connects again, and that it has stopped.
async fn told(page: &mut Page) -> Value {
    page.until("source.readyState === EventSource.CLOSED").await;
    page.eval("told").await
}

#[tokio::test]
async fn html_9_2_an_event_source_stops_and_a_websocket_closes_with_the_reason() {
    let app = App::start(TokenLifetimeLayer::new().end_event("token-ended")).await;
    let browser = Chromium::start().await;
    let mut others = app.listen("/events", &app.token("2", "bob"), &[]).await;
    let mut page = page(&browser, &app, &app.token("1", "ann")).await;
    page.eval(LISTEN).await;
    page.eval(CHAT).await;
    page.until("window.ticked && window.heard === 'hello'")
        .await;
    let ann = Revocation::all_of(RevocationKey::subject(ISSUER, "ann"));
    app.list
        .revoke(ann.expect("a rule"))
        .await
        .expect("revoked");
    page.until("window.shut").await;
    let closed = page.eval("shut").await;
    assert_eq!(closed, json!([1008, "the token was revoked", true]));
    assert_eq!(told(&mut page).await, json!(["revoked", 0, 2]));
    others.goes_on().await;
}

#[tokio::test]
async fn html_9_2_an_event_source_is_told_of_the_expiry() {
    let layer = TokenLifetimeLayer::new().end_event("token-ended");
    let app = App::start(layer).await;
    let browser = Chromium::start().await;
    let token = app.claims("1", "ann").expires_in(Duration::from_secs(10));
    let mut page = page(&browser, &app, &token.sign()).await;
    page.eval(LISTEN).await;
    page.eval(CHAT).await;
    page.until("window.shut").await;
    let closed = page.eval("shut").await;
    assert_eq!(closed, json!([1008, "the token has expired", true]));
    assert_eq!(told(&mut page).await, json!(["expired", 0, 2]));
}
