//! A MariaDB server from Debian's packages. Its data survives a kill, so that it can be restarted.

use std::{fmt, process::Command, time::Duration};

use tempfile::TempDir;

use super::{free_port, is_root, ran, server_process::ServerProcess};
use crate::process::Process;

/// Starting takes less than a second, or longer on a busy machine or after a crash.
const WITHIN: Duration = Duration::from_secs(60);

/// `mysql://…/database` of a server that tests may use instead of starting one, unless they have to
/// kill or freeze it. The user must be allowed to create tables.
const VARIABLE: &str = "TOWER_REVOKE_TEST_MARIADB";

/// A server with the user `root`, the database `tower`, and no password.
pub struct MariaDb {
    pub(super) process: ServerProcess,
    data: TempDir,
    port: u16,
    args: Vec<String>,
}

impl MariaDb {
    /// Starts a server on a free port, with more command-line options.
    pub async fn start(args: &[&str]) -> Self {
        let data = TempDir::new().expect("a temp dir");
        let mut install = Command::new("mariadb-install-db");
        install
            .args(["--no-defaults", "--skip-test-db"])
            .arg("--auth-root-authentication-method=normal")
            .arg(format!("--datadir={}", data.path().join("db").display()))
            // Concurrent runs would delete each other's files in a shared folder.
            .arg(format!("--tmpdir={}", data.path().display()))
            .current_dir(data.path());
        if is_root() {
            let mut chown = Command::new("chown");
            ran("chown", chown.arg("mysql:mysql").arg(data.path()));
            install.arg("--user=mysql");
        }
        ran("mariadb-install-db", &mut install);
        let mut server = Self {
            process: ServerProcess::default(),
            data,
            port: free_port(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
        };
        server.restart().await;
        server.ask("", "CREATE DATABASE tower");
        server
    }

    /// Starts it with the data on disk.
    pub(super) async fn restart(&mut self) {
        let mut before: Vec<_> = Vec::new();
        let mut program = "/usr/sbin/mariadbd";
        if is_root() {
            // The server refuses to run as root. Changing the user clears the parent-death signal,
            // so it is set again.
            let args = "--reuid=mysql --regid=mysql --init-groups --pdeathsig KILL";
            before.extend(args.split(' '));
            before.push(program);
            program = "setpriv";
        }
        let data = self.data.path();
        let rest = TempDir::new().expect("a temp dir");
        let mut process = Process::start("mariadbd", program, rest, |command| {
            command
                .current_dir(data)
                .args(before)
                .args(["--no-defaults", "--bind-address=127.0.0.1"])
                .args(["--skip-name-resolve", "--skip-ssl"])
                .arg(format!("--datadir={}", data.join("db").display()))
                .arg(format!("--tmpdir={}", data.display()))
                .arg(format!("--socket={}", data.join("socket").display()))
                .arg(format!("--port={}", self.port))
                // The minimum sizes, because the tests run several servers.
                .args([
                    "--innodb-buffer-pool-size=32M",
                    "--innodb-log-file-size=16M",
                ])
                .args(&self.args);
        });
        process
            .says("that it is ready", WITHIN, |line| {
                line.contains("ready for connections").then_some(())
            })
            .await;
        self.process = ServerProcess::of(process);
    }

    /// `mysql://root@127.0.0.1:port/tower`.
    pub fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/tower", self.port)
    }

    /// Runs statements; returns a line for each row, with `|` between columns.
    pub fn sql(&self, statements: &str) -> String {
        self.ask("tower", statements)
    }

    fn ask(&self, database: &str, statements: &str) -> String {
        let mut client = Command::new("mariadb");
        client
            .args(["--no-defaults", "-h", "127.0.0.1", "-u", "root", "-N", "-B"])
            .args(["--default-character-set=utf8mb4", "-P"])
            .arg(self.port.to_string())
            .args(["-e", statements, database]);
        ran("mariadb", &mut client).replace('\t', "|")
    }
}

impl fmt::Debug for MariaDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MariaDb")
            .field("port", &self.port)
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

/// A server that tests don't kill or freeze: the one that the variable names, or a new one.
#[derive(Debug)]
pub enum SharedMariaDb {
    /// The server that the variable names.
    Theirs(String),
    /// A server that this process has started.
    Ours(MariaDb),
}

impl SharedMariaDb {
    /// Uses the server that the variable names, or starts one.
    pub async fn start() -> Self {
        match std::env::var(VARIABLE) {
            Ok(url) => Self::Theirs(url),
            Err(_) => Self::Ours(MariaDb::start(&[]).await),
        }
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        match self {
            Self::Theirs(url) => url.clone(),
            Self::Ours(server) => server.url(),
        }
    }
}
