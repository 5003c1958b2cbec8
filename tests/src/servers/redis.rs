//! Redis servers from Debian's packages: a single one, a primary with Sentinel, or a cluster. Their
//! data survive a kill, so that they can be restarted.

use std::{
    collections::HashMap, fmt, net::TcpListener, path::Path, process::Command, time::Duration,
};

use tempfile::TempDir;

use super::{free_port, server_process::ServerProcess};
use crate::process::Process;

/// Starting takes a moment, or longer on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// `host:port` of a server that tests may use instead of starting one, unless they have to kill or
/// freeze it.
const VARIABLE: &str = "TOWER_REVOKE_TEST_REDIS";

/// A Redis server.
pub struct Redis {
    pub(super) process: ServerProcess,
    data: TempDir,
    port: u16,
    args: Vec<String>,
}

impl Redis {
    /// Starts a server on a free port, with more command-line options. By default it is as durable
    /// as possible: every write is on disk before the reply.
    pub async fn start(args: &[&str]) -> Self {
        Self::start_on(free_port(), args).await
    }

    async fn start_on(port: u16, args: &[&str]) -> Self {
        let data = TempDir::new().expect("a temp dir");
        let mut redis = Self {
            process: ServerProcess::default(),
            data,
            port,
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
        };
        redis.restart().await;
        redis
    }

    /// Starts it with the data on disk.
    pub(super) async fn restart(&mut self) {
        let is_sentinel = self.args.iter().any(|arg| arg == "--sentinel");
        let rest = TempDir::new().expect("a temp dir");
        let mut process = Process::start("redis-server", "redis-server", rest, |command| {
            if is_sentinel {
                command.arg(self.data.path().join("sentinel.conf"));
            } else {
                command
                    .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
                    .args([
                        "--save",
                        "",
                        "--appendonly",
                        "yes",
                        "--appendfsync",
                        "always",
                    ])
                    .arg("--dir")
                    .arg(self.data.path());
            }
            command.args(&self.args);
        });
        process
            .says("that it is ready", WITHIN, |line| {
                let ready =
                    line.contains("Ready to accept connections") || line.contains("Sentinel ID is");
                ready.then_some(())
            })
            .await;
        self.process = ServerProcess::of(process);
    }

    /// Disconnects its replicas. A frozen replica gets nothing that is written afterwards, not even
    /// into its socket buffers.
    pub fn cut_replicas(&self) {
        self.cli(&["CLIENT", "KILL", "TYPE", "replica"]);
    }

    /// Returns a number from its replication info.
    fn replication(&self, name: &str) -> Option<u64> {
        let told = self.cli(&["INFO", "replication"]);
        let mut pairs = told.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(its, _)| *its == name)?.1.trim().parse().ok()
    }

    /// Returns its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns the folder of its data.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Runs a command; returns the reply as redis-cli prints it.
    pub fn cli(&self, args: &[&str]) -> String {
        cli(self.port, args)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("port", &self.port)
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

fn cli(port: u16, args: &[&str]) -> String {
    let asked = Command::new("redis-cli")
        .args(["-p", &port.to_string()])
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("redis-cli, of redis-tools, does not run: {error}"));
    String::from_utf8_lossy(&asked.stdout).trim().to_owned()
}

/// A server that tests don't kill or freeze: the one that the variable names, or a new one.
#[derive(Debug)]
pub enum SharedRedis {
    /// The server that the variable names.
    Theirs(String),
    /// A server that this process has started.
    Ours(Redis),
}

impl SharedRedis {
    /// Uses the server that the variable names, or starts one.
    pub async fn start() -> Self {
        match std::env::var(VARIABLE) {
            Ok(address) => Self::Theirs(format!("redis://{address}")),
            Err(_) => Self::Ours(Redis::start(&[]).await),
        }
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        match self {
            Self::Theirs(url) => url.clone(),
            Self::Ours(redis) => redis.url(),
        }
    }
}

/// A primary with a replica, and one sentinel, which suffices here.
#[derive(Debug)]
pub struct WatchedRedis {
    /// Both data servers; the first is the primary at the start.
    pub servers: [Redis; 2],
    /// The sentinel.
    pub sentinel: Redis,
}

impl WatchedRedis {
    /// The name under which the sentinel knows the primary.
    pub const NAME: &'static str = "revocations";

    /// Starts all three, and returns once the replica is in sync.
    pub async fn start() -> Self {
        let primary = Redis::start(&["--repl-diskless-sync-delay", "0"]).await;
        let of = format!("127.0.0.1 {}", primary.port);
        let replica = Redis::start(&["--repl-diskless-sync-delay", "0", "--replicaof", &of]).await;
        // Only the primary is reliable: the replica reports the link as up a second before it
        // receives data.
        wait_until("the replica is in sync", || {
            primary
                .cli(&["INFO", "replication"])
                .contains("state=online")
        })
        .await;
        let data = TempDir::new().expect("a temp dir");
        let port = free_port();
        let name = Self::NAME;
        let config = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {name} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {name} 500\nsentinel failover-timeout {name} 3000\n",
            primary.port
        );
        std::fs::write(data.path().join("sentinel.conf"), config).expect("a temp dir");
        let mut sentinel = Redis {
            process: ServerProcess::default(),
            data,
            port,
            args: vec!["--sentinel".to_owned()],
        };
        sentinel.restart().await;
        wait_until("the sentinel knows the replica", || {
            let replicas = sentinel.cli(&["SENTINEL", "REPLICAS", name]);
            replicas.contains(&replica.port.to_string())
        })
        .await;
        Self {
            servers: [primary, replica],
            sentinel,
        }
    }

    /// Returns the URL of the sentinel.
    pub fn url(&self) -> String {
        self.sentinel.url()
    }
}

/// Three masters, each with a replica.
#[derive(Debug)]
pub struct RedisCluster {
    /// The first three are masters at the start.
    pub servers: Vec<Redis>,
}

impl RedisCluster {
    /// Starts the cluster, and returns once it accepts writes and all replicas are in sync.
    pub async fn start() -> Self {
        let mut servers = Vec::new();
        for _ in 0..6 {
            let port = bus_port();
            let args = [
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "500",
                "--repl-diskless-sync-delay",
                "0",
            ];
            servers.push(Redis::start_on(port, &args).await);
        }
        let addresses: Vec<_> = (servers.iter())
            .map(|server| format!("127.0.0.1:{}", server.port))
            .collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(addresses.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        let said = servers[0].cli(&create);
        assert!(said.contains("All 16384 slots covered"), "{said}");
        wait_until("the cluster is ready", || {
            servers.iter().all(|server| {
                let replication = server.cli(&["INFO", "replication"]);
                let in_step = replication.contains("role:master")
                    && replication.contains("state=online")
                    || replication.contains("master_link_status:up");
                in_step && (server.cli(&["CLUSTER", "INFO"])).contains("cluster_state:ok")
            })
        })
        .await;
        Self { servers }
    }

    /// Returns the URLs of the servers.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Redis::url).collect()
    }
}

/// Waits until the replicas among `servers` have everything that their masters have written so far.
pub async fn replicas_catch_up(servers: &[Redis]) {
    let done = servers.iter().map(|server| {
        let done = server.replication("master_repl_offset");
        (server.port, done.expect("a replication offset"))
    });
    let done: HashMap<_, _> = done.collect();
    wait_until("the replicas have caught up", || {
        servers.iter().all(|server| {
            let Some(master) = server.replication("master_port") else {
                return true;
            };
            let wanted = u16::try_from(master).ok().and_then(|port| done.get(&port));
            server.replication("slave_repl_offset").as_ref() >= wanted
        })
    })
    .await;
}

/// Polls an external condition with increasing delays until it holds.
pub async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let asked = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let asked = tokio::time::timeout(WITHIN, asked).await;
    asked.unwrap_or_else(|_| panic!("not within {WITHIN:?}: {what}"));
}

/// Returns a free port for a cluster node, whose bus uses a port 10,000 higher.
fn bus_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    // Concurrent tests search different ranges.
    let from = 11_000 + u16::try_from(std::process::id() % 450 * 20).expect("less than 9,000");
    let mut ports = (from..20_000).chain(11_000..from);
    let free = ports.find(|port| is_free(*port) && is_free(port + 10_000));
    free.expect("two free ports")
}
