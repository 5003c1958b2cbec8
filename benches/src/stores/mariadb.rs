//! MariaDB: waiting uses share a transaction, compared with one `INSERT` per use by the bare
//! driver. The 16 connections are about as many as serve it well.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use sqlx::{Connection, Executor, MySqlConnection, MySqlPool, mysql::MySqlPoolOptions};
use tempfile::TempDir;
use tower_revoke::core::Use;
use tower_revoke_store_sql::MySqlStore;

use super::{
    CALLERS, Claims, Ours, print_row, rate,
    scale::{self, folder_size},
};
use crate::rounds::Outcome;

const CONNECTIONS: u32 = 16;

struct Bare(MySqlPool);

impl Claims for Bare {
    async fn take_use(&self, use_: Use) -> Outcome<()> {
        let inserted = sqlx::query("INSERT IGNORE INTO uses VALUES (?, ?, ?)")
            .bind(&use_.token.as_bytes()[..])
            .bind(&use_.id.as_bytes()[..])
            .bind(4_102_444_800_i64)
            .execute(&self.0)
            .await
            .map_err(|error| error.to_string())?;
        match inserted.rows_affected() {
            1 => Ok(()),
            _ => Err("a new use was lost".to_owned()),
        }
    }
}

/// A server with its default durability. It stops when dropped.
struct Server {
    process: Child,
    url: String,
    data: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns a command that runs as user `mysql` if this process is root, since the server refuses to
/// run as root.
fn as_mysql(program: &str, data: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output();
    let mut command = Command::new("setpriv");
    if is_root.is_ok_and(|id| id.stdout.trim_ascii() == b"0") {
        command.args(["--reuid=mysql", "--regid=mysql", "--init-groups"]);
    }
    command
        .args(["--pdeathsig", "KILL", program, "--no-defaults"])
        .arg(format!("--datadir={}", data.join("db").display()))
        .arg(format!("--tmpdir={}", data.display()))
        .current_dir(data)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

async fn start() -> Outcome<Server> {
    let said = |error: std::io::Error| format!("mariadbd: {error}");
    let data = tempfile::tempdir().map_err(said)?;
    // Fails without root, and isn't needed then.
    let _ = Command::new("chown")
        .arg("mysql")
        .arg(data.path())
        .stderr(Stdio::null())
        .status();
    let made = as_mysql("mariadb-install-db", data.path())
        .args(["--skip-test-db", "--auth-root-authentication-method=normal"])
        .status()
        .map_err(said)?;
    if !made.success() {
        return Err("mariadb-install-db failed".to_owned());
    }
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(said)?;
        listener.local_addr().map_err(said)?.port()
    };
    let process = as_mysql("/usr/sbin/mariadbd", data.path())
        .args(["--bind-address=127.0.0.1", "--skip-name-resolve"])
        .arg(format!("--port={port}"))
        .arg(format!("--socket={}", data.path().join("socket").display()))
        .spawn()
        .map_err(said)?;
    let server = Server {
        process,
        url: format!("mysql://root@127.0.0.1:{port}"),
        data,
    };
    for _ in 0..1_000 {
        if let Ok(mut link) = MySqlConnection::connect(&server.url).await {
            let made = link.execute("CREATE DATABASE benches").await;
            return made.map(|_| server).map_err(|error| error.to_string());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err("mariadbd does not listen".to_owned())
}

pub(super) async fn hold_many(count: u64) -> Outcome<()> {
    let server = start().await?;
    let url = format!("{}/benches", server.url);
    let store = MySqlStore::connect(&url).await;
    let store = store.map_err(|error| error.to_string())?;
    let bytes = async || folder_size(&server.data.path().join("db"));
    scale::measure("MariaDB", store, count, bytes).await
}

pub(super) async fn measure(rounds: usize) -> Outcome<()> {
    let server = start().await?;
    let url = format!("{}/benches", server.url);
    let bare = MySqlPoolOptions::new()
        .max_connections(CONNECTIONS)
        .test_before_acquire(false)
        .connect(&url)
        .await
        .map_err(|error| error.to_string())?;
    let table = "CREATE TABLE uses (token BINARY(16) PRIMARY KEY, use_id BINARY(16), until BIGINT)";
    let table = bare.execute(table).await;
    table.map_err(|error| error.to_string())?;
    let bare = Arc::new(Bare(bare));
    let ours = MySqlStore::connect(&url).await;
    let ours = Arc::new(Ours(ours.map_err(|error| error.to_string())?));
    println!("MariaDB (in brackets: times one INSERT each)");
    for callers in CALLERS {
        let mut rates = vec![Vec::new(); 2];
        for _ in 0..rounds {
            rates[0].push(rate(&bare, callers).await?);
            rates[1].push(rate(&ours, callers).await?);
        }
        print_row(callers, &["bare", "ours"], &rates);
    }
    Ok(())
}
