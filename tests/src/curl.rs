//! Runs curl and parses its responses.

use std::{net::SocketAddr, process::Output};

/// The curl options for HTTP/1.1 and HTTP/2.
pub const WIRES: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];

/// Runs `curl` silently, with these arguments and without the user's settings.
///
/// # Panics
/// If `curl` is not installed.
pub async fn curl(arguments: &[&str]) -> Output {
    tokio::process::Command::new("curl")
        .args(["--disable", "--silent", "--show-error", "--max-time", "60"])
        .args(arguments)
        .output()
        .await
        .expect("curl is installed")
}

/// A response.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The first line and the headers.
    pub head: String,
    /// The body, as text.
    pub body: String,
}

impl Reply {
    /// Parses the output of `curl -i`.
    fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| {
            let error = String::from_utf8_lossy(&output.stderr);
            panic!("no head: {text} {error}")
        });
        let status = head.split(' ').nth(1).expect("a status");
        Self {
            status: status.parse().expect("a number"),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    /// Returns the value of a header.
    ///
    /// # Panics
    /// If the header occurs twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().filter_map(|line| {
            let (given, value) = line.split_once(": ")?;
            given.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = values.next();
        assert_eq!(values.next(), None, "{name} occurs twice");
        value
    }

    /// Returns status and error code, such as `401 invalid_token`.
    pub fn verdict(&self) -> String {
        let challenge = self.header("www-authenticate").unwrap_or_default();
        let code = challenge.split("error=\"").nth(1);
        match code.and_then(|rest| rest.split('"').next()) {
            Some(code) => format!("{} {code}", self.status),
            None => self.status.to_string(),
        }
    }
}

/// Calls `http://AT/PATH`, without normalizing the path.
pub async fn call(at: SocketAddr, path: &str, more: &[&str]) -> Reply {
    let url = format!("http://{at}{path}");
    let arguments = [&["-i", "--globoff", "--path-as-is", &url], more].concat();
    Reply::of(&curl(&arguments).await)
}

/// Calls with a token in the header.
pub async fn show(at: SocketAddr, wire: &str, path: &str, token: &str) -> Reply {
    let header = format!("Authorization: Bearer {token}");
    call(at, path, &[wire, "-H", &header]).await
}

/// Fetches a token from an example's issuer with a query for `/token`, such as
/// `subject=ann&scope=api`.
pub async fn token(issuer: &str, query: &str) -> String {
    let output = curl(&["-f", "-X", "POST", &format!("{issuer}/token?{query}")]).await;
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}
