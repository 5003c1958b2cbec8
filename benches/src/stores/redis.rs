//! Redis: waiting uses are sent together, compared with one `SET NX GET PXAT` per use by the bare
//! driver, on one multiplexed connection.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tower_revoke::core::Use;
use tower_revoke_store_redis::RedisStore;

use super::{CALLERS, Claims, Ours, print_row, rate, scale};
use crate::rounds::Outcome;

struct Bare(MultiplexedConnection);

impl Claims for Bare {
    async fn take_use(&self, use_: Use) -> Outcome<()> {
        let mut set = redis::cmd("SET");
        set.arg(&use_.token.as_bytes()[..]);
        set.arg(&use_.id.as_bytes()[..]);
        set.arg("NX")
            .arg("GET")
            .arg("PXAT")
            .arg(4_102_444_800_000_u64);
        let before: Option<Vec<u8>> = (set.query_async(&mut self.0.clone()).await)
            .map_err(|error: redis::RedisError| error.to_string())?;
        match before {
            None => Ok(()),
            Some(_) => Err("a new use was lost".to_owned()),
        }
    }
}

/// A server without persistence, so that no disk limits it. It stops when dropped.
struct Server {
    process: Child,
    url: String,
    _data: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn start() -> Outcome<Server> {
    let said = |error: std::io::Error| format!("redis-server: {error}");
    let data = tempfile::tempdir().map_err(said)?;
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(said)?;
        listener.local_addr().map_err(said)?.port()
    };
    let process = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "redis-server"])
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .current_dir(data.path())
        .stdout(Stdio::null())
        .spawn()
        .map_err(said)?;
    let server = Server {
        process,
        url: format!("redis://127.0.0.1:{port}"),
        _data: data,
    };
    for _ in 0..500 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
        {
            return Ok(server);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err("redis-server does not listen".to_owned())
}

pub(super) async fn hold_many(count: u64) -> Outcome<()> {
    let server = start().await?;
    let client = redis::Client::open(server.url.as_str()).map_err(|error| error.to_string())?;
    let connection = client.get_multiplexed_async_connection().await;
    let connection = connection.map_err(|error| error.to_string())?;
    let store = RedisStore::connect(&server.url).await;
    let store = store.map_err(|error| error.to_string())?;
    let bytes = async || {
        let info = redis::cmd("INFO").arg("memory").clone();
        let info: String = (info.query_async(&mut connection.clone()).await)
            .map_err(|error: redis::RedisError| error.to_string())?;
        let used = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        let used = used.and_then(|used| used.parse().ok());
        used.ok_or_else(|| "Redis doesn't say how much memory it uses".to_owned())
    };
    scale::measure("Redis (memory)", store, count, bytes).await?;
    drop(server);

    let server = start().await?;
    let client = redis::Client::open(server.url.as_str()).map_err(|error| error.to_string())?;
    let connection = client.get_multiplexed_async_connection().await;
    let connection = connection.map_err(|error| error.to_string())?;
    let open = async || {
        let store = RedisStore::connect(&server.url).await;
        store.map_err(|error| error.to_string())
    };
    // Each read of the feed is a script.
    let scripts = async || {
        let info = redis::cmd("INFO").arg("commandstats").clone();
        let info: String = (info.query_async(&mut connection.clone()).await)
            .map_err(|error: redis::RedisError| error.to_string())?;
        let calls = info.lines().find_map(|line| {
            let calls = line.strip_prefix("cmdstat_evalsha:calls=")?;
            calls.split_once(',')?.0.parse().ok()
        });
        calls.ok_or_else(|| "Redis doesn't say how many scripts it ran".to_owned())
    };
    scale::idle("Redis", open, scripts).await
}

pub(super) async fn measure(rounds: usize) -> Outcome<()> {
    let server = start().await?;
    let client = redis::Client::open(server.url.as_str()).map_err(|error| error.to_string())?;
    let bare = client.get_multiplexed_async_connection().await;
    let bare = Arc::new(Bare(bare.map_err(|error| error.to_string())?));
    let ours = RedisStore::connect(&server.url).await;
    let ours = Arc::new(Ours(ours.map_err(|error| error.to_string())?));
    println!("Redis (in brackets: times the bare driver; to reach: 0.8)");
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
