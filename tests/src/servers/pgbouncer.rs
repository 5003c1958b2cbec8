//! A PgBouncer from Debian's packages in front of a PostgreSQL server.

use std::{fs, process::Command, time::Duration};

use tempfile::TempDir;

use super::{
    Postgres, free_port, is_root, postgres::as_postgres, ran, server_process::ServerProcess,
};
use crate::process::Process;

/// Starting takes a moment, or longer on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// A pooler that accepts any user without a password.
#[derive(Debug)]
pub struct PgBouncer {
    _process: ServerProcess,
    port: u16,
}

impl PgBouncer {
    /// Starts a pooler on a free port with this `pool_mode`.
    pub async fn start(server: &Postgres, pool_mode: &str) -> Self {
        let data = TempDir::new().expect("a temp dir");
        let port = free_port();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 user=postgres port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {pool_mode}\n\
             ignore_startup_parameters = options,extra_float_digits\n",
            server.port()
        );
        let path = data.path().join("pgbouncer.ini");
        fs::write(&path, settings).expect("a file of ours");
        if is_root() {
            let mut chown = Command::new("chown");
            ran(
                "chown",
                chown.args(["-R", "postgres:postgres"]).arg(data.path()),
            );
        }
        let (program, before) = as_postgres("/usr/sbin/pgbouncer".as_ref());
        let mut process = Process::start("pgbouncer", &program, data, |command| {
            command.args(before).arg(path);
        });
        process
            .says("that it is up", WITHIN, |line| {
                line.contains("process up").then_some(())
            })
            .await;
        Self {
            _process: ServerProcess::of(process),
            port,
        }
    }

    /// `postgres://postgres@127.0.0.1:port/postgres`.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}
