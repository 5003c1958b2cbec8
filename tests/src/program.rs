//! Runs the example programs as a user does: they print their addresses, and end on SIGTERM.

use std::{
    fmt,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, ExitStatus},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    curl::{self, Reply},
    process::Process,
};

/// The time limit for a program to print an expected line, or to end.
const WITHIN: Duration = Duration::from_secs(60);

/// A running example, built beside the tests by `--workspace`, and killed on drop.
pub struct Program(Process);

impl Program {
    /// Starts an example by the name of its package; `set` completes the command. Call it on the
    /// test's own thread.
    ///
    /// # Panics
    /// If the example was not built: build the whole workspace.
    pub fn start(name: &'static str, set: impl FnOnce(&mut Command)) -> Self {
        let program = built(name);
        let program = program.to_str().expect("a path in UTF-8");
        let data = TempDir::new().expect("a temp dir");
        Self(Process::start(name, program, data, set))
    }

    /// Reads the output up to the line with the prefix `before`, and returns the rest of that line.
    pub async fn says(&mut self, before: &str) -> String {
        let rest = |line: &str| Some(line.strip_prefix(before)?.trim().to_owned());
        self.0.says(before, WITHIN, rest).await
    }

    /// Returns the address in the line with the prefix `before`.
    pub async fn address(&mut self, before: &str) -> SocketAddr {
        let url = self.says(before).await;
        let address = url.strip_prefix("http://").unwrap_or(&url);
        let address = address.trim_end_matches('/');
        address.parse().expect("an address and a port")
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends SIGTERM, as a service manager does.
    pub fn terminate(&self) {
        self.0.signal("TERM");
    }

    /// Sends SIGKILL: it ends at once, with whatever it was doing.
    pub fn kill(&self) {
        self.0.signal("KILL");
    }

    /// Waits until it has ended.
    pub async fn ended(self) -> ExitStatus {
        self.0.ended(WITHIN).await.0
    }

    /// Waits until it has ended, and returns the output on both pipes since the last line that was
    /// read.
    pub async fn last_words(self) -> (ExitStatus, Vec<String>) {
        self.0.ended(WITHIN).await
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A running example that includes an authorization server, on a free loopback port.
#[derive(Debug)]
pub struct Example {
    /// The program.
    pub program: Program,
    /// The authorization server's address.
    pub issuer: String,
    /// The address of the example.
    pub at: SocketAddr,
}

impl Example {
    /// Starts the example, and returns once it listens. Call it on the test's own thread.
    ///
    /// # Panics
    /// If the example was not built: build the whole workspace.
    pub async fn start(name: &'static str) -> Self {
        let mut program = Program::start(name, |command| {
            command.arg("127.0.0.1:0");
        });
        let issuer = program.says("issuer: ").await;
        let at = program.address("listening on ").await;
        Self {
            program,
            issuer,
            at,
        }
    }

    /// Fetches a token with a query for the issuer's `/token`, such as `subject=ann&scope=api`.
    pub async fn token(&self, query: &str) -> String {
        curl::token(&self.issuer, query).await
    }

    /// Calls a path with curl.
    pub async fn call(&self, path: &str, more: &[&str]) -> Reply {
        curl::call(self.at, path, more).await
    }

    /// Calls a path with a token.
    pub async fn show(&self, wire: &str, path: &str, token: &str) -> Reply {
        curl::show(self.at, wire, path, token).await
    }
}

/// Returns the path of a program that cargo built beside the running test.
fn built(name: &str) -> PathBuf {
    let me = std::env::current_exe().expect("a path");
    let folder = me.ancestors().nth(2).expect("the target folder");
    let program = folder.join(name);
    assert!(
        program.exists(),
        "build the whole workspace: {program:?} is missing"
    );
    program
}
