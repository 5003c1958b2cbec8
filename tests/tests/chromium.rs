//! Tests the browser of the tests: it runs scripts, takes input, and reports what goes wrong.

use axum::{Router, response::Html, routing::get};
use tower_revoke_tests::{Server, chromium::Chromium};

const PAGE: &str = "<!doctype html><link rel=icon href='data:,'><button>0</button><input>
<style>@media (prefers-color-scheme: dark) { body { color: rgb(1, 2, 3) } }</style>
<script>
document.querySelector('button').onclick = (event) => event.target.textContent++;
setTimeout(() => { document.title = 'later' }, 50);
</script>";

#[tokio::test]
async fn chromium_runs_scripts_takes_input_and_reports_faults() {
    let server = Server::start(Router::new().route("/", get(async || Html(PAGE)))).await;
    let url = format!("http://{}/", server.addr);
    let browser = Chromium::start().await;
    let mut page = browser.page().await;
    page.open(&url).await;
    assert_eq!(page.until("document.title").await, "later");
    page.click("button").await;
    page.press("Enter").await;
    page.until("document.querySelector('button').textContent === '2'")
        .await;
    page.press("Tab").await;
    page.enter("a <b>").await;
    page.press("c").await;
    let entered = page.eval("document.activeElement.value").await;
    assert_eq!(entered, "a <b>c");

    let colour = "getComputedStyle(document.body).color";
    assert_ne!(page.eval(colour).await, "rgb(1, 2, 3)");
    page.show_as(400, 300, true).await;
    assert_eq!(page.eval(colour).await, "rgb(1, 2, 3)");
    assert_eq!(page.eval("innerWidth").await, 400);
    assert!(page.screenshot().await.starts_with(b"\x89PNG"));

    let requests = page.requests().await;
    let requests: Vec<_> = requests
        .iter()
        .filter(|it| it.starts_with("http"))
        .collect();
    assert_eq!(requests, [&url]);
    assert!(page.faults().await.is_empty());
    page.eval(
        "console.error('one'), setTimeout(() => { throw 'two' }), fetch('/three').then(() => 1)",
    )
    .await;
    let faults = page.faults().await.join("\n");
    for fault in ["console: ", "exception: ", "network: "] {
        assert!(faults.contains(fault), "{faults}");
    }
}
