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
        let mut curl = Command::new("curl")
            .args(["--disable", "--silent", "--no-buffer", "--max-time", "60"])
            .args(["-f", wire, "-H"])
            .arg(format!("Authorization: Bearer {token}"))
            .arg(format!("http://{}/api/events", shop.at))
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
