//! What a browser's EventSource and WebSocket see, in headless Chromium.

use std::{num::NonZeroU32, time::Duration};

use serde_json::{Value, json};
use tower_revoke::{
    Lift, Revocation, RevocationKey, TokenId, TokenLifetimeLayer,
    core::{Use, UseId},
};
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

/// Waits until more has come over both, which the server sent after this call began.
async fn both_go_on(page: &mut Page) {
    page.eval("window.ticked = window.heard = null; socket.send('again'); 0")
        .await;
    page.until("window.ticked && window.heard === 'again'")
        .await;
    assert_eq!(page.eval("told").await, json!([]));
    assert_eq!(page.eval("window.shut ?? null").await, Value::Null);
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
    let mut others = app.listen("/events", &app.token("0", "bob"), &[]).await;
    for (subject, key) in [
        ("a", TokenId::of_jwt(ISSUER, "of a").into()),
        ("b", RevocationKey::subject(ISSUER, "b")),
        ("c", RevocationKey::client(ISSUER, "client_id of c")),
        ("d", RevocationKey::session(ISSUER, "sid of d")),
        ("e", RevocationKey::claim(ISSUER, "tenant", "tenant of e")),
        ("f", RevocationKey::issuer(ISSUER)),
    ] {
        let token = app.token(&format!("of {subject}"), subject);
        let mut page = page(&browser, &app, &token).await;
        page.eval(LISTEN).await;
        page.eval(CHAT).await;
        page.until("window.ticked && window.heard === 'hello'")
            .await;
        let revocation = match &key {
            RevocationKey::Token(id) => Revocation::of_token(*id, None),
            rule => Revocation::all_of(rule.clone()).expect("a rule"),
        };
        app.list.revoke(revocation).await.expect("revoked");
        page.until("window.shut").await;
        let closed = page.eval("shut").await;
        let reason = json!([1008, "the token was revoked", true]);
        assert_eq!(closed, reason, "{key:?}");
        assert_eq!(told(&mut page).await, json!(["revoked", 0, 2]), "{key:?}");
        if key != RevocationKey::issuer(ISSUER) {
            others.goes_on().await;
        }
    }
}

#[tokio::test]
async fn a_browsers_streams_outlast_a_spent_token_and_a_revocation_lifted_in_time() {
    let layer = TokenLifetimeLayer::new().end_event("token-ended");
    let app = App::start(layer.revocation_grace(Duration::from_secs(30))).await;
    let browser = Chromium::start().await;
    let mut page = page(&browser, &app, &app.token("1", "ann")).await;
    page.eval(LISTEN).await;
    page.eval(CHAT).await;
    page.until("window.ticked && window.heard === 'hello'")
        .await;
    let id = TokenId::of_jwt(ISSUER, "1");
    let single = Use::new(id, UseId::from_bytes([1; 16]), NonZeroU32::MIN, None);
    app.list.take_use(single).await.expect("taken");
    let spent = Revocation::of_spent_token(id, None);
    app.list.revoke(spent).await.expect("revoked");
    both_go_on(&mut page).await;
    assert_eq!(app.list.stats().ended_watches, 0);

    let ann = RevocationKey::subject(ISSUER, "ann");
    let rule = Revocation::all_of(ann.clone()).expect("a rule");
    app.list.revoke(rule).await.expect("revoked");
    assert_eq!(app.list.stats().ended_watches, 2);
    let lift = Lift::new(ann).by("ann").because("a mistake");
    assert!(app.list.lift(lift).await.expect("lifted"));
    both_go_on(&mut page).await;
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
