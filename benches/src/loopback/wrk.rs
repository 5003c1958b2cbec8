//! One run of wrk, which sends tokens over keep-alive connections.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use http::HeaderValue;

use crate::rounds::Outcome;

const CONNECTIONS: &str = "32";

/// The scripts and tokens of wrk, as files.
pub struct Wrk {
    script: PathBuf,
    tokens: PathBuf,
    count: usize,
}

/// What was sent in one run.
pub struct Sent {
    pub requests: u64,
    pub per_second: f64,
}

impl Wrk {
    pub fn new(folder: &Path, tokens: &[HeaderValue]) -> io::Result<Self> {
        let count = tokens.len();
        let wrk = Self {
            script: folder.join("requests.lua"),
            tokens: folder.join(format!("{count}.tokens")),
            count,
        };
        fs::write(&wrk.script, include_str!("requests.lua"))?;
        let lines: Vec<&[u8]> = tokens.iter().map(HeaderValue::as_bytes).collect();
        fs::write(&wrk.tokens, lines.join(&b'\n'))?;
        Ok(wrk)
    }

    /// The number of different tokens.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Sends for some seconds from the second core.
    ///
    /// # Errors
    /// If a response had another status than 2xx, or was lost.
    pub fn send(&self, to: SocketAddr, seconds: u64) -> Outcome<Sent> {
        let output = Command::new("taskset")
            .args(["-c", "1", "wrk", "-t1", "-c", CONNECTIONS])
            .args([format!("-d{seconds}s"), format!("http://{to}/")])
            .arg("-s")
            .arg(&self.script)
            .arg("--")
            .arg(&self.tokens)
            .output()
            .map_err(|error| format!("wrk by taskset: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let summary = text.lines().find_map(|line| line.strip_prefix("summary "));
        let figures: Option<Vec<u64>> =
            summary.and_then(|line| line.split(' ').map(|figure| figure.parse().ok()).collect());
        let Some(&[requests, micros, rejected, lost]) = figures.as_deref() else {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(format!("wrk printed no summary: {text}{error}"));
        };
        if requests == 0 || rejected > 0 || lost > 0 {
            return Err(format!(
                "of {requests} responses {rejected} were rejections, and {lost} were lost"
            ));
        }
        Ok(Sent {
            requests,
            per_second: requests as f64 / (micros as f64 / 1e6),
        })
    }
}
