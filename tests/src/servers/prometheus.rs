//! A Prometheus server from Debian's packages, which scrapes one address.

use std::{fs, net::SocketAddr, time::Duration};

use serde_json::Value;
use tempfile::TempDir;

use super::{free_port, server_process::ServerProcess};
use crate::{Client, Wire, process::Process};

/// Starting takes a moment, or longer on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// A server that scrapes once a second.
#[derive(Debug)]
pub struct Prometheus {
    _process: ServerProcess,
    addr: SocketAddr,
}

impl Prometheus {
    /// Starts a server that scrapes `/metrics` of this address.
    pub async fn start(scraped: SocketAddr) -> Self {
        let data = TempDir::new().expect("a temp dir");
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let settings = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
             scrape_configs: [{{ job_name: tower-revoke, static_configs: [{{ targets: [\"{scraped}\"] }}] }}]\n"
        );
        let path = data.path().join("prometheus.yml");
        fs::write(&path, settings).expect("a file of ours");
        let storage = data.path().join("data");
        let mut process = Process::start("prometheus", "prometheus", data, |command| {
            command
                .arg(format!("--config.file={}", path.display()))
                .arg(format!("--storage.tsdb.path={}", storage.display()))
                .arg(format!("--web.listen-address={addr}"));
        });
        let is_ready = |line: &str| {
            let is_ready = line.contains("Server is ready to receive web requests");
            is_ready.then_some(())
        };
        process.says("that it is ready", WITHIN, is_ready).await;
        Self {
            _process: ServerProcess::of(process),
            addr,
        }
    }

    /// Runs a query, and returns the series of its result.
    ///
    /// # Panics
    /// If the server does not understand it.
    pub async fn query(&self, query: &str) -> Vec<Value> {
        let encoded: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let mut answer = self.get(&format!("/api/v1/query?query={encoded}")).await;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        match answer["data"]["result"].take() {
            Value::Array(series) => series,
            other => panic!("{query}: {other}"),
        }
    }

    /// Returns the state of the scraped target: `up` or `down`, and the error of its last scrape.
    pub async fn target(&self) -> (String, String) {
        let answer = self.get("/api/v1/targets").await;
        let target = &answer["data"]["activeTargets"][0];
        let text = |member: &str| target[member].as_str().unwrap_or_default().to_owned();
        (text("health"), text("lastError"))
    }

    async fn get(&self, path: &str) -> Value {
        let mut client = Client::connect(self.addr, Wire::Http1).await;
        let answer = client.send(crate::get(path, "")).await;
        let answer = answer.expect("an answer of Prometheus");
        serde_json::from_slice(&answer.bytes).expect("JSON")
    }
}
