//! A headless Chromium from Debian's packages, driven by its DevTools protocol.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::Request;
use http_body_util::Empty;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use crate::{Client, Wire, process::Process};

/// Starting takes a second, or longer on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Longer than anything takes that a page is waited for.
const WITHIN: Duration = Duration::from_secs(60);

/// A running browser with a profile of its own, killed on drop.
#[derive(Debug)]
pub struct Chromium {
    _process: Process,
    addr: SocketAddr,
}

impl Chromium {
    /// Starts a browser. Call it on the test's own thread.
    pub async fn start() -> Self {
        let data = TempDir::new().expect("a temp dir");
        let profile = data.path().join("profile");
        let mut process = Process::start("chromium", "chromium", data, |command| {
            command
                .args(["--headless", "--remote-debugging-port=0"])
                .arg(format!("--user-data-dir={}", profile.display()))
                // It only loads pages of the tests; the sandbox works neither as root nor in a container.
                .arg("--no-sandbox")
                .args([
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    "--hide-scrollbars",
                ])
                .args(["--no-first-run", "--disable-background-networking"])
                .args(["--disable-component-update", "--disable-breakpad"]);
        });
        let addr = |line: &str| {
            let rest = line.split_once("DevTools listening on ws://")?.1;
            rest.split_once('/')?.0.parse().ok()
        };
        let addr = process.says("its address", STARTS_WITHIN, addr).await;
        let _process = process;
        Self { _process, addr }
    }

    /// Opens a blank page, 1,280 by 800 pixels, light.
    pub async fn page(&self) -> Page {
        let request = Request::put("/json/new?about:blank")
            .header("host", self.addr.to_string())
            .body(Empty::<Bytes>::new())
            .expect("a request");
        let mut client = Client::connect(self.addr, Wire::Http1).await;
        let answer = client.send(request).await.expect("an answer of Chromium");
        let target: Value = serde_json::from_slice(&answer.bytes).expect("JSON");
        let url = target["webSocketDebuggerUrl"].as_str().expect("a URL");
        let (socket, _) = connect_async(url).await.expect("a socket of Chromium");
        let mut page = Page {
            socket,
            calls: 0,
            requests: Vec::new(),
            faults: Vec::new(),
        };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        page.show_as(1_280, 800, false).await;
        page
    }
}

/// A page, with what it has requested and what went wrong.
///
/// Everything that waits for the page panics if that takes a minute.
#[derive(Debug)]
pub struct Page {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    calls: u64,
    requests: Vec<String>,
    faults: Vec<String>,
}

impl Page {
    /// Loads a URL, and waits until the page is loaded.
    pub async fn open(&mut self, url: &str) {
        // Otherwise a URL that differs by its fragment alone would load nothing.
        self.call("Page.navigate", json!({ "url": "about:blank" }))
            .await;
        let answer = self.call("Page.navigate", json!({ "url": url })).await;
        assert_eq!(answer["errorText"], Value::Null, "{url}");
        let url = json!(url);
        self.until(&format!(
            "document.readyState === 'complete' && location.href.startsWith({url})"
        ))
        .await;
    }

    /// Returns the value of a JavaScript expression, if need be that of its promise.
    ///
    /// # Panics
    /// If it throws.
    pub async fn eval(&mut self, expression: &str) -> Value {
        let result = self.evaluated(expression).await;
        result.unwrap_or_else(|thrown| panic!("{expression}: {thrown}"))
    }

    /// Waits until an expression is true for JavaScript, and returns its value.
    pub async fn until(&mut self, expression: &str) -> Value {
        // In the page, which knows best when something has changed. A page that is being replaced takes
        // the promise with it.
        let wait = format!(
            "new Promise(done => {{
                const look = () => {{
                    let value = null;
                    try {{ value = ({expression}) }} catch {{}}
                    value ? done(value) : setTimeout(look, 10);
                }};
                look();
            }})"
        );
        let found = async {
            loop {
                match self.evaluated(&wait).await {
                    Ok(value) => break value,
                    Err(thrown) => assert!(thrown.contains("destroyed"), "{thrown}"),
                }
            }
        };
        if let Ok(value) = timeout(WITHIN, found).await {
            return value;
        }
        let text = self.eval("document.body.innerText").await;
        panic!("never true: {expression}\n{text}\n{:#?}", self.faults)
    }

    /// Clicks on the middle of the first element that a CSS selector finds.
    pub async fn click(&mut self, selector: &str) {
        let selector = json!(selector);
        let at = self
            .until(&format!(
                "(() => {{
                    const element = document.querySelector({selector});
                    element.scrollIntoView({{ block: 'nearest' }});
                    const box = element.getBoundingClientRect();
                    return box.width && {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }};
                }})()"
            ))
            .await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": at["x"], "y": at["y"], "button": "left", "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Presses and releases a key: `Tab`, `Enter`, `Escape`, ` `, an arrow, or a letter.
    pub async fn press(&mut self, key: &str) {
        self.press_with(key, 0).await;
    }

    /// Presses and releases a key while Shift is held down.
    pub async fn press_with_shift(&mut self, key: &str) {
        self.press_with(key, 8).await;
    }

    async fn press_with(&mut self, key: &str, modifiers: u32) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "ArrowLeft" => (37, ""),
            "ArrowUp" => (38, ""),
            "ArrowRight" => (39, ""),
            "ArrowDown" => (40, ""),
            text => {
                let code = text.bytes().next().expect("a key").to_ascii_uppercase();
                (code.into(), text)
            }
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({
                "type": kind, "key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers,
            });
            if !text.is_empty() && kind == "keyDown" {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Enters a text where the focus is.
    pub async fn enter(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text })).await;
    }

    /// Sets the size of the window, and whether the reader prefers dark.
    pub async fn show_as(&mut self, width: u32, height: u32, dark: bool) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if dark { "dark" } else { "light" };
        let scheme = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": scheme }))
            .await;
    }

    /// Returns what the window shows, as a PNG.
    pub async fn screenshot(&mut self) -> Vec<u8> {
        let format = json!({ "format": "png" });
        let answer = self.call("Page.captureScreenshot", format).await;
        let data = answer["data"].as_str().expect("an image");
        BASE64_STANDARD.decode(data).expect("base64")
    }

    /// Returns the URLs of all requests so far.
    pub async fn requests(&mut self) -> &[String] {
        self.read_events().await;
        &self.requests
    }

    /// Returns all errors so far, each after its source: `exception`, `console`, or what the browser
    /// logs, such as `network` or `security`.
    pub async fn faults(&mut self) -> &[String] {
        self.read_events().await;
        &self.faults
    }

    /// Reads the events so far: the answer to a call comes after them.
    async fn read_events(&mut self) {
        self.eval("0").await;
    }

    async fn evaluated(&mut self, expression: &str) -> Result<Value, String> {
        let ask = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let mut answer = self.send("Runtime.evaluate", ask).await?;
        match &answer["exceptionDetails"] {
            Value::Null => Ok(answer["result"]["value"].take()),
            thrown => Err(thrown.to_string()),
        }
    }

    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        let answer = self.send(method, parameters).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    async fn send(&mut self, method: &str, parameters: Value) -> Result<Value, String> {
        self.calls += 1;
        let id = self.calls;
        let call = json!({ "id": id, "method": method, "params": parameters });
        let sent = self.socket.send(Message::text(call.to_string())).await;
        sent.expect("Chromium takes calls");
        loop {
            let message = timeout(WITHIN, self.socket.next()).await;
            let message = message.unwrap_or_else(|_| panic!("no answer to {call}"));
            let message = message.expect("Chromium is there").expect("a message");
            let Message::Text(text) = message else {
                continue;
            };
            let mut message: Value = serde_json::from_str(&text).expect("JSON");
            if message["id"] == id {
                return match &message["error"] {
                    Value::Null => Ok(message["result"].take()),
                    error => Err(error.to_string()),
                };
            }
            self.note(&message);
        }
    }

    fn note(&mut self, event: &Value) {
        let what = &event["params"];
        let fault = match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                let url = what["request"]["url"].as_str().unwrap_or_default();
                return self.requests.push(url.to_owned());
            }
            "Runtime.exceptionThrown" => {
                format!("exception: {}", what["exceptionDetails"])
            }
            "Runtime.consoleAPICalled" if what["type"] == "error" => {
                format!("console: {}", what["args"])
            }
            "Log.entryAdded" if what["entry"]["level"] == "error" => {
                let text = |member: &str| what["entry"][member].as_str().unwrap_or_default();
                format!("{}: {} {}", text("source"), text("text"), text("url"))
            }
            _ => return,
        };
        self.faults.push(fault);
    }
}
