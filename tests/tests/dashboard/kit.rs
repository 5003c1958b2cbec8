//! Calls that a monitor counts, and a browser that shows its page.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke::{
    Authenticated, Claims, Monitor, MonitorDashboard, MonitorLayer, TokenId, core::VerifiedToken,
};
use tower_revoke_tests::{
    Server,
    chromium::{Chromium, Page},
};

/// A server and a browser that shows its page.
pub(crate) struct Shown {
    pub(crate) page: Page,
    pub(crate) url: String,
    pub(crate) server: Server,
    _browser: Chromium,
}

impl Shown {
    /// Shows the page of an unprotected dashboard, with this fragment.
    pub(crate) async fn of(monitor: &Monitor, fragment: &str) -> Self {
        let dashboard = MonitorDashboard::unprotected(monitor.clone());
        Self::at(Server::start(dashboard).await, fragment).await
    }

    pub(crate) async fn at(server: Server, fragment: &str) -> Self {
        let url = format!("http://{}/", server.addr);
        let browser = Chromium::start().await;
        let mut page = browser.page().await;
        page.open(&format!("{url}#{fragment}")).await;
        Self {
            page,
            url,
            server,
            _browser: browser,
        }
    }

    /// Waits until a table has these names in this order.
    pub(crate) async fn names(&mut self, table: &str, names: &[&str]) {
        let names = json!(names);
        let same = format!(
            "JSON.stringify({}) === JSON.stringify({names})",
            names_in(table)
        );
        self.page.until(&same).await;
    }

    /// Returns what is in a column of a row.
    pub(crate) async fn cell(&mut self, table: &str, name: &str, column: &str) -> String {
        let cell = cell(table, name, column);
        let text = self.page.until(&format!("{cell}?.innerText")).await;
        text.as_str().expect("a text").to_owned()
    }

    /// Waits until a column of a row starts with this text.
    pub(crate) async fn reads(&mut self, table: &str, name: &str, column: &str, text: &str) {
        let cell = cell(table, name, column);
        let text = json!(text);
        self.page
            .until(&format!("{cell}?.innerText.startsWith({text})"))
            .await;
    }

    /// Clicks on the head of a column.
    pub(crate) async fn click_head(&mut self, table: &str, column: &str) {
        let column = json!(column);
        let head = format!(
            "[...document.querySelectorAll('#{table} thead button')]
                .find(head => head.textContent === {column}).id = 'clicked'"
        );
        self.page.until(&head).await;
        self.page.click("#clicked").await;
        self.page
            .eval("document.getElementById('clicked').removeAttribute('id')")
            .await;
    }

    /// Waits until a table says that it is sorted by this column alone.
    pub(crate) async fn sorted_by(&mut self, table: &str, column: &str) {
        let column = json!(column);
        let sorted = format!(
            "[...document.querySelectorAll('#{table} th[aria-sort]')]
                .map(head => head.textContent).join() === {column}"
        );
        self.page.until(&sorted).await;
    }

    /// Presses Tab until what has this text has the focus.
    pub(crate) async fn tab_to(&mut self, text: &str) {
        let has = format!("document.activeElement.textContent === {}", json!(text));
        for _ in 0..100 {
            self.page.press("Tab").await;
            if self.page.eval(&has).await == true {
                return;
            }
        }
        panic!("no way to {text} by Tab");
    }

    /// Returns how often the page has asked for the usage.
    pub(crate) async fn polls(&mut self) -> usize {
        let requests = self.page.requests().await.iter();
        requests
            .filter(|url| url.contains("limit=") && !url.contains("steps="))
            .count()
    }

    /// Checks that nothing went wrong, and that nothing was asked of another origin.
    pub(crate) async fn check_sound(mut self) {
        assert_eq!(self.page.faults().await, [""; 0]);
        self.asked_nobody_else().await;
    }

    pub(crate) async fn asked_nobody_else(&mut self) {
        let url = self.url.clone();
        for request in self.page.requests().await {
            assert!(
                request.starts_with(&url) || request == "about:blank",
                "{request}"
            );
        }
    }
}

fn names_in(table: &str) -> String {
    format!("[...document.querySelectorAll('#{table} tbody th')].map(it => it.textContent)")
}

fn cell(table: &str, name: &str, column: &str) -> String {
    let (name, column) = (json!(name), json!(column));
    format!(
        "[...document.querySelectorAll('#{table} tbody tr')]
            .find(row => row.cells[0].textContent === {name})
            ?.cells[[...document.querySelectorAll('#{table} thead th')]
                .findIndex(head => head.textContent === {column})]"
    )
}

/// Calls a service as a client, and reads the whole response.
pub(crate) async fn call(layer: &MonitorLayer, client: &str, route: &'static str, status: u16) {
    call_that(layer, client, route, status, || ()).await;
}

/// Calls a service that does something.
pub(crate) async fn call_that(
    layer: &MonitorLayer,
    client: &str,
    route: &'static str,
    status: u16,
    does: impl Fn(),
) {
    let service = layer.clone().route_by(move |_| Some(route));
    let service = service.layer(service_fn(|_: Request<()>| {
        does();
        let mut response = Response::new(Full::<bytes::Bytes>::from("hello"));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        std::future::ready(Ok::<_, Infallible>(response))
    }));
    let mut request = Request::new(());
    if !client.is_empty() {
        request.extensions_mut().insert(caller(client));
    }
    let response = service.oneshot(request).await.expect("an answer");
    response.into_body().collect().await.expect("a body");
}

fn caller(subject: &str) -> Authenticated {
    let claims: Value = json!({ "iss": "https://id.example.com", "sub": subject });
    let claims = Claims::from_value(claims).expect("claims");
    let id = TokenId::of_jwt("https://id.example.com", "1");
    Authenticated::new(Arc::new(VerifiedToken::new(id, claims, Duration::ZERO)))
}

/// Two services, of which one fails more often, and one upstream.
pub(crate) async fn counted() -> Monitor {
    let monitor = Monitor::new();
    let (orders, stock) = (monitor.layer("orders"), monitor.layer("stock"));
    for _ in 0..3 {
        call(&orders, "ann", "/orders", 200).await;
    }
    call(&orders, "bob", "/orders", 404).await;
    call(&stock, "eve", "/stock/{id}", 200).await;
    call(&stock, "ann", "/stock/{id}", 500).await;
    call(&monitor.upstream("bank"), "", "/pay", 200).await;
    monitor
}
