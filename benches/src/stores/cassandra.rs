//! Cassandra: a use is an `INSERT … IF NOT EXISTS` and an entry of the log, compared with only the
//! `INSERT … IF NOT EXISTS` by the bare driver.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use scylla::{
    client::{session::Session, session_builder::SessionBuilder},
    statement::prepared::PreparedStatement,
    value::Row,
};
use tempfile::TempDir;
use tower_revoke::core::Use;
use tower_revoke_store_cassandra::CassandraStore;

use super::{
    CALLERS, Claims, Ours, print_row, rate,
    scale::{self, folder_size},
};
use crate::rounds::Outcome;

const SETTINGS: &str = include_str!("../../../tests/servers/cassandra/cassandra.yaml");
const LOGBACK: &str = include_str!("../../../tests/servers/cassandra/logback.xml");

/// The internal packages of the JVM that Cassandra needs.
const EXPORTS: &str = "java.base/java.lang.ref java.base/jdk.internal.misc \
    java.management/com.sun.jmx.remote.security java.rmi/sun.rmi.registry java.rmi/sun.rmi.server \
    java.sql/java.sql jdk.unsupported/sun.misc";
const OPENS: &str = "java.base/java.io java.base/java.lang java.base/java.lang.module \
    java.base/java.lang.reflect java.base/java.net java.base/java.nio java.base/java.util \
    java.base/java.util.concurrent java.base/java.util.concurrent.atomic \
    java.base/jdk.internal.loader java.base/jdk.internal.math java.base/jdk.internal.module \
    java.base/jdk.internal.ref java.base/jdk.internal.reflect java.base/jdk.internal.util.jar \
    java.base/sun.nio.ch jdk.management/com.sun.management.internal";

struct Bare(Session, PreparedStatement);

impl Claims for Bare {
    async fn take_use(&self, use_: Use) -> Outcome<()> {
        let values = (use_.token.as_bytes().to_vec(), use_.id.as_bytes().to_vec());
        let answer = self
            .0
            .execute_unpaged(&self.1, values)
            .await
            .map_err(said)?;
        let rows = answer.into_rows_result().map_err(said)?;
        let row = rows.first_row::<Row>().map_err(said)?;
        let applied = row
            .columns
            .first()
            .and_then(|value| value.as_ref()?.as_boolean());
        match applied {
            Some(true) => Ok(()),
            _ => Err("a new use was lost".to_owned()),
        }
    }
}

fn said(error: impl ToString) -> String {
    error.to_string()
}

/// A server. It stops when dropped.
struct Server {
    process: Child,
    address: String,
    data: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the folder to which `tests/servers/install` installs Cassandra.
fn jars() -> Outcome<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from);
    let servers = set("TOWER_REVOKE_SERVERS")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("tower-revoke/servers")))
        .or_else(|| Some(set("HOME")?.join(".cache/tower-revoke/servers")));
    let jars = servers.map(|servers| servers.join("cassandra/lib"));
    jars.filter(|jars| jars.is_dir())
        .ok_or_else(|| "no Cassandra: run tests/servers/install".to_owned())
}

async fn start() -> Outcome<Server> {
    let data = tempfile::tempdir().map_err(said)?;
    let listeners = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut ports = Vec::new();
    for listener in &listeners {
        let listener = listener.as_ref().map_err(said)?;
        ports.push(listener.local_addr().map_err(said)?.port().to_string());
    }
    drop(listeners);
    let yaml = SETTINGS
        .replace("{port}", &ports[0])
        .replace("{storage_port}", &ports[1]);
    let file = |name: &str, text: &str| {
        let path = data.path().join(name);
        std::fs::write(&path, text).map_err(said)?;
        Ok::<_, String>(format!("file://{}", path.display()))
    };
    let (yaml, logback) = (
        file("cassandra.yaml", &yaml)?,
        file("logback.xml", LOGBACK)?,
    );
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "java", "-Xms512m", "-Xmx512m"]);
    for (option, packages) in [("--add-exports", EXPORTS), ("--add-opens", OPENS)] {
        for package in packages.split_whitespace() {
            command.arg(format!("{option}={package}=ALL-UNNAMED"));
        }
    }
    let process = command
        .args(["-XX:+UseSerialGC", "-Djdk.attach.allowAttachSelf=true"])
        .args(["-Dcassandra-foreground=yes", "-Dcassandra.ring_delay_ms=1"])
        .arg("-Dcassandra.skip_wait_for_gossip_to_settle=0")
        .arg("-Dcassandra.superuser_setup_delay_ms=0")
        .arg(format!("-Dcassandra.config={yaml}"))
        .arg(format!(
            "-Dcassandra.storagedir={}",
            data.path().join("data").display()
        ))
        .arg(format!("-Dlogback.configurationFile={logback}"))
        .arg("-cp")
        .arg(jars()?.join("*"))
        .arg("org.apache.cassandra.service.CassandraDaemon")
        .current_dir(data.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(said)?;
    let server = Server {
        process,
        address: format!("127.0.0.1:{}", ports[0]),
        data,
    };
    for _ in 0..2_400 {
        if tokio::net::TcpStream::connect(&server.address)
            .await
            .is_ok()
        {
            return Ok(server);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("Cassandra does not listen".to_owned())
}

pub(super) async fn hold_many(count: u64) -> Outcome<()> {
    let server = start().await?;
    let store = open(&server).await?;
    let bytes = async || folder_size(&server.data.path().join("data"));
    scale::measure("Cassandra (with its commit log)", store, count, bytes).await
}

/// Creates the tables and opens the store.
async fn open(server: &Server) -> Outcome<CassandraStore> {
    let builder = CassandraStore::builder([&server.address]);
    let builder = builder.request_timeout(Duration::from_secs(10));
    let one_copy = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
    builder.migrate(one_copy).await.map_err(said)?;
    builder.connect().await.map_err(said)
}

pub(super) async fn measure(rounds: usize) -> Outcome<()> {
    let server = start().await?;
    let ours = Arc::new(Ours(open(&server).await?));
    let builder = SessionBuilder::new().known_node(&server.address);
    let session = builder.build().await.map_err(said)?;
    let create = "CREATE TABLE tower_revoke.bare (digest blob PRIMARY KEY, claim blob)";
    session.query_unpaged(create, ()).await.map_err(said)?;
    let insert = "INSERT INTO tower_revoke.bare (digest, claim) VALUES (?, ?) IF NOT EXISTS";
    let insert = session.prepare(insert).await.map_err(said)?;
    let bare = Arc::new(Bare(session, insert));
    println!("Cassandra (in brackets: times the bare driver; to reach: 0.8)");
    // Warms up the JVM's just-in-time compiler.
    rate(&bare, 32).await?;
    rate(&ours, 32).await?;
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
