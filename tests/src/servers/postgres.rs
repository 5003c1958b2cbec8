//! A PostgreSQL server from Debian's packages. Its data survives a kill, so that it can be
//! restarted.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use super::{free_port, is_root, ran, server_process::ServerProcess};
use crate::process::Process;

/// Starting takes less than a second, or longer on a busy machine or after a crash.
const WITHIN: Duration = Duration::from_secs(60);

/// `postgres://…` of a server that tests may use instead of starting one, unless they have to kill
/// or freeze it. The user must be allowed to create schemas.
const VARIABLE: &str = "TOWER_REVOKE_TEST_POSTGRES";

/// A server with the user `postgres` and the database `postgres`, and no password.
pub struct Postgres {
    pub(super) process: ServerProcess,
    data: TempDir,
    programs: PathBuf,
    port: u16,
    args: Vec<String>,
}

impl Postgres {
    /// Starts a server on a free port, with more command-line options.
    pub async fn start(args: &[&str]) -> Self {
        let initdb = "--no-sync -A trust -U postgres -E UTF8 --locale C";
        Self::start_over(args, "initdb", initdb).await
    }

    /// Starts a hot standby that replicates this server.
    pub async fn start_standby(&self) -> Self {
        let from = format!(
            "-h 127.0.0.1 -p {} -U postgres -R -X stream -c fast",
            self.port
        );
        Self::start_over(&[], "pg_basebackup", &from).await
    }

    /// Restarts it as a standby without a primary, as a failover does to a primary that comes back.
    /// It must have been killed.
    pub async fn restart_as_standby(&mut self) {
        let signal = self.data.path().join("db/standby.signal");
        fs::write(signal, "").expect("a file of ours");
        self.restart().await;
    }

    /// Starts a server on data that `program` creates.
    async fn start_over(args: &[&str], program: &str, making: &str) -> Self {
        let data = TempDir::new().expect("a temp dir");
        let programs = programs();
        if is_root() {
            let mut chown = Command::new("chown");
            ran("chown", chown.arg("postgres:postgres").arg(data.path()));
        }
        let (path, before) = as_postgres(&programs.join(program));
        let mut command = Command::new(path);
        command
            .args(before)
            .args(making.split(' '))
            .arg("-D")
            .arg(data.path().join("db"))
            .current_dir(data.path());
        ran(program, &mut command);
        let mut postgres = Self {
            process: ServerProcess::default(),
            data,
            programs,
            port: free_port(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
        };
        postgres.restart().await;
        postgres
    }

    /// Starts it with the data on disk.
    pub(super) async fn restart(&mut self) {
        let (program, before) = as_postgres(&self.programs.join("postgres"));
        let rest = TempDir::new().expect("a temp dir");
        let mut process = Process::start("postgres", &program, rest, |command| {
            command
                .current_dir(self.data.path())
                .args(before)
                .arg("-D")
                .arg(self.data.path().join("db"))
                .args(["-p", &self.port.to_string()])
                .args(["-c", "listen_addresses=127.0.0.1"])
                .args(["-c", "unix_socket_directories="])
                .args(&self.args);
        });
        process
            .says("that it is ready", WITHIN, |line| {
                // A standby accepts "read-only connections".
                let is_ready = line.contains("ready to accept") && line.contains("connections");
                is_ready.then_some(())
            })
            .await;
        self.process = ServerProcess::of(process);
    }

    /// `postgres://postgres@127.0.0.1:port/postgres`.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements; returns a line for each row, with `|` between columns.
    pub fn sql(&self, statements: &str) -> String {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c"])
            .arg(statements)
            .arg(self.url());
        ran("psql", &mut psql)
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("port", &self.port)
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

/// A server that tests don't kill or freeze: the one that the variable names, or a new one.
#[derive(Debug)]
pub enum SharedPostgres {
    /// The server that the variable names.
    Theirs(String),
    /// A server that this process has started.
    Ours(Postgres),
}

impl SharedPostgres {
    /// Uses the server that the variable names, or starts one.
    pub async fn start() -> Self {
        match std::env::var(VARIABLE) {
            Ok(url) => Self::Theirs(url),
            Err(_) => Self::Ours(Postgres::start(&[]).await),
        }
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        match self {
            Self::Theirs(url) => url.clone(),
            Self::Ours(postgres) => postgres.url(),
        }
    }
}

/// Debian has a folder for the programs of each major version, outside of PATH.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .unwrap_or_else(|error| panic!("Debian's postgresql is not installed: {error}"));
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("bin/postgres").exists())
        .max_by_key(version);
    newest.expect("Debian's postgresql").join("bin")
}

/// The server refuses to run as root. Changing the user clears the parent-death signal, so it is
/// set again.
pub(super) fn as_postgres(program: &Path) -> (String, Vec<String>) {
    let program = program.display().to_string();
    if !is_root() {
        return (program, Vec::new());
    }
    let args = "--reuid=postgres --regid=postgres --init-groups --pdeathsig KILL";
    let mut args: Vec<_> = args.split(' ').map(str::to_owned).collect();
    args.push(program);
    ("setpriv".to_owned(), args)
}
