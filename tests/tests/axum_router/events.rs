//! Tests server-sent events, which end when their token does.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::kit::{Example, SHOP, WIRES, call};

/// A curl process that has received its first event.
struct Listener {
    curl: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Listener {
    async fn of(shop: &Example, wire: &str, token: &str) -> Self {
        let header = format!("Authorization: Bearer {token}");
        Self::listen(shop, wire, "/api/events", &["-H", &header]).await
    }

    async fn by_ticket(shop: &Example, wire: &str, ticket: &str) -> Self {
        let path = format!("/events?access_token={ticket}");
        Self::listen(shop, wire, &path, &[]).await
    }

    async fn listen(shop: &Example, wire: &str, path: &str, more: &[&str]) -> Self {
        let mut curl = Command::new("curl")
            .args(["--disable", "--silent", "--no-buffer", "--max-time", "60"])
            .args(["-f", wire])
            .args(more)
            .arg(format!("http://{}{path}", shop.at))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("curl is installed");
        let lines = BufReader::new(curl.stdout.take().expect("a pipe")).lines();
        let mut listener = Self { curl, lines };
        let first = listener.lines.next_line().await.expect("text");
        assert_eq!(first.as_deref(), Some("event: orders"));
        listener
    }

    /// Waits until the stream ends cleanly.
    async fn ended(mut self) {
        while self.lines.next_line().await.expect("text").is_some() {}
        assert!(self.curl.wait().await.expect("curl ends").success());
    }
}

#[tokio::test]
async fn events_end_with_the_token() {
    let shop = Example::start(SHOP).await;
    for (wire, customer) in WIRES.into_iter().zip(["ann", "bob"]) {
        let theirs = format!("subject={customer}&scope=api");
        let (phone, laptop) = (shop.token(&theirs).await, shop.token(&theirs).await);
        let listening = Listener::of(&shop, wire, &phone).await;
        let header = format!("Authorization: Bearer {laptop}");
        let path = "/api/log-out-everywhere";
        let out = call(shop.at, path, &[wire, "-X", "POST", "-H", &header]).await;
        assert_eq!(out.status, 204);
        listening.ended().await;
        let again = shop.show(wire, "/api/events", &phone).await;
        assert_eq!(again.verdict(), "401 invalid_token");
    }
}

#[tokio::test]
async fn events_do_not_delay_the_shutdown() {
    let mut shop = Example::start(SHOP).await;
    let token = shop.token("scope=api").await;
    let mut listening = Vec::new();
    for wire in WIRES {
        listening.push(Listener::of(&shop, wire, &token).await);
    }
    shop.program.terminate();
    for listener in listening {
        listener.ended().await;
    }
    let stopped = shop.program.says("stopped: ").await;
    assert_eq!(stopped, "all calls ended, nothing is owed");
    assert!(shop.program.ended().await.success());
}

async fn ticket(shop: &Example, wire: &str, token: &str) -> String {
    let header = format!("Authorization: Bearer {token}");
    let reply = call(
        shop.at,
        "/api/tickets",
        &[wire, "-X", "POST", "-H", &header],
    )
    .await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    reply.body
}

/// What a browser's `EventSource` can do: no header, and a URL that may leak.
#[tokio::test]
async fn a_ticket_opens_the_events_once_and_they_end_with_the_token() {
    let shop = Example::start(SHOP).await;
    for (wire, customer) in WIRES.into_iter().zip(["ann", "bob"]) {
        let token = shop.token(&format!("subject={customer}&scope=api")).await;
        let (used, unused) = (
            ticket(&shop, wire, &token).await,
            ticket(&shop, wire, &token).await,
        );
        let listening = Listener::by_ticket(&shop, wire, &used).await;
        let verdict = async |path: &str, ticket: &str| {
            let path = format!("{path}?access_token={ticket}");
            call(shop.at, &path, &[wire]).await.verdict()
        };
        assert_eq!(verdict("/events", &used).await, "401 invalid_token");
        // The token itself is accepted in no URL, and the ticket opens nothing else.
        assert_eq!(verdict("/events", &token).await, "401 invalid_token");
        assert_eq!(verdict("/api/orders", &unused).await, "401");
        let as_header = shop.show(wire, "/api/orders", &unused).await;
        assert_eq!(as_header.verdict(), "401 invalid_token");

        let header = format!("Authorization: Bearer {token}");
        let out = ["-X", "POST", "-H", &header];
        let out = call(
            shop.at,
            "/api/log-out-everywhere",
            &[&[wire][..], &out].concat(),
        )
        .await;
        assert_eq!(out.status, 204);
        listening.ended().await;
        assert_eq!(verdict("/events", &unused).await, "401 invalid_token");
    }
}
