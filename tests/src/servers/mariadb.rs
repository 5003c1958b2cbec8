//! A MariaDB server of Debian. Its data outlive it, so that it can be killed and started again.

use std::{fmt, process::Command, time::Duration};

use tempfile::TempDir;

use super::{free_port, is_root, ran, server_process::ServerProcess};
use crate::process::Process;

/// It starts in less than a second; a busy machine takes longer, and so does one that crashed.
const WITHIN: Duration = Duration::from_secs(60);

/// `mysql://…/database` of a server that tests may use instead of one of their own, where nothing
/// has to be done to it. The user must be allowed to create tables.
const VARIABLE: &str = "TOWER_REVOKE_TEST_MARIADB";

/// One server, with the user `root`, the database `tower`, and no password.
pub struct MariaDb {
    pub(super) process: ServerProcess,
    data: TempDir,
    port: u16,
    args: Vec<String>,
}

impl MariaDb {
    /// Starts one on a free port, with more options, as on its command line.
    pub async fn start(args: &[&str]) -> Self {
        let data = TempDir::new().expect("a temp dir");
        let mut install = Command::new("mariadb-install-db");
        install
            .args(["--no-defaults", "--skip-test-db"])
            .arg("--auth-root-authentication-method=normal")
            .arg(format!("--datadir={}", data.path().join("db").display()))
            // Two at the same time take each other's files away in a folder that they share.
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

    /// Starts it, with what it has on disk.
    pub(super) async fn restart(&mut self) {
        let mut before: Vec<_> = Vec::new();
        let mut program = "/usr/sbin/mariadbd";
        if is_root() {
            // It rejects to run as root. The signal for when its test dies is asked for again: it is
            // forgotten where the user changes.
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
                // As small as they may be: the tests run several.
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

    /// What it answers to statements, a line for each row, with `|` between columns.
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

/// A server that nothing is done to: the one that the variable names, or one of our own.
#[derive(Debug)]
pub enum SharedMariaDb {
    /// Somebody's.
    Theirs(String),
    /// Ours.
    Ours(MariaDb),
}

impl SharedMariaDb {
    /// The one that the variable names, or a new one.
    pub async fn start() -> Self {
        match std::env::var(VARIABLE) {
            Ok(url) => Self::Theirs(url),
            Err(_) => Self::Ours(MariaDb::start(&[]).await),
        }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        match self {
            Self::Theirs(url) => url.clone(),
            Self::Ours(server) => server.url(),
        }
    }
}
