//! PostgreSQL: waiting uses share a transaction, compared with one `INSERT` per use by the bare
//! driver. The 16 connections are about as many as serve it well.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use sqlx::{Executor, PgPool, postgres::PgPoolOptions};
use tempfile::TempDir;
use tower_revoke::core::Use;
use tower_revoke_store_sql::PostgresStore;

use super::{
    CALLERS, Claims, Ours, print_row, rate,
    scale::{self, folder_size},
};
use crate::rounds::Outcome;

const CONNECTIONS: u32 = 16;

struct Bare(PgPool);

impl Claims for Bare {
    async fn take_use(&self, use_: Use) -> Outcome<()> {
        let insert = "INSERT INTO uses VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        let inserted = sqlx::query(insert)
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

/// Returns a command that runs as user `postgres` if this process is root, since the server refuses
/// to run as root.
fn as_postgres(program: PathBuf) -> Command {
    let is_root = Command::new("id").arg("-u").output();
    let mut command = Command::new("setpriv");
    if is_root.is_ok_and(|id| id.stdout.trim_ascii() == b"0") {
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

async fn start() -> Outcome<Server> {
    let said = |error: std::io::Error| format!("postgres: {error}");
    let versions = fs::read_dir("/usr/lib/postgresql").map_err(said)?;
    let programs = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .find(|folder| folder.join("postgres").exists())
        .ok_or("postgresql of Debian is not installed")?;
    let data = tempfile::tempdir().map_err(said)?;
    // Fails without root, and isn't needed then.
    let _ = Command::new("chown")
        .arg("postgres")
        .arg(data.path())
        .stderr(Stdio::null())
        .status();
    let db = data.path().join("db");
    let made = as_postgres(programs.join("initdb"))
        .args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8"])
        .args(["--locale", "C", "-D"])
        .arg(&db)
        .current_dir(data.path())
        .stdout(Stdio::null())
        .status()
        .map_err(said)?;
    if !made.success() {
        return Err("initdb failed".to_owned());
    }
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(said)?;
        listener.local_addr().map_err(said)?.port()
    };
    let process = as_postgres(programs.join("postgres"))
        .arg("-D")
        .arg(&db)
        .args(["-p", &port.to_string()])
        .args(["-c", "listen_addresses=127.0.0.1"])
        .args(["-c", "unix_socket_directories="])
        .current_dir(data.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(said)?;
    let server = Server {
        process,
        url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        data,
    };
    for _ in 0..1_000 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
        {
            return Ok(server);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err("postgres does not listen".to_owned())
}

pub(super) async fn hold_many(count: u64) -> Outcome<()> {
    let server = start().await?;
    // Waits until the server has started: the store doesn't.
    let pool = PgPoolOptions::new().connect(&server.url).await;
    drop(pool.map_err(|error| error.to_string())?);
    let store = PostgresStore::connect(&server.url).await;
    let store = store.map_err(|error| error.to_string())?;
    let bytes = async || folder_size(&server.data.path().join("db/base"));
    scale::measure("PostgreSQL", store, count, bytes).await?;
    drop(server);

    let server = start().await?;
    let pool = PgPoolOptions::new().max_connections(1).connect(&server.url);
    let pool = pool.await.map_err(|error| error.to_string())?;
    let open = async || {
        let store = PostgresStore::connect(&server.url).await;
        store.map_err(|error| error.to_string())
    };
    let transactions = async || {
        let count = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
        let count = sqlx::query_scalar::<_, i64>(count).fetch_one(&pool).await;
        count
            .map(i64::unsigned_abs)
            .map_err(|error| error.to_string())
    };
    scale::idle("PostgreSQL (transactions)", open, transactions).await
}

pub(super) async fn measure(rounds: usize) -> Outcome<()> {
    let server = start().await?;
    let bare = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .test_before_acquire(false)
        .connect(&server.url)
        .await
        .map_err(|error| error.to_string())?;
    let table = "CREATE TABLE uses (token bytea PRIMARY KEY, use_id bytea, until bigint)";
    let table = bare.execute(table).await;
    table.map_err(|error| error.to_string())?;
    let bare = Arc::new(Bare(bare));
    let ours = PostgresStore::connect(&server.url).await;
    let ours = Arc::new(Ours(ours.map_err(|error| error.to_string())?));
    println!("PostgreSQL (in brackets: times one INSERT each; to reach with 256: 5)");
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
