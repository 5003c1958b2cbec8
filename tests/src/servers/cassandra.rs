//! A single-node Apache Cassandra. Its data survives a kill, so that it can be restarted.

use std::{
    fmt, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use super::{installed, server_process::ServerProcess};
use crate::process::Process;

const SETTINGS: &str = include_str!("../../servers/cassandra/cassandra.yaml");
const LOGBACK: &str = include_str!("../../servers/cassandra/logback.xml");

/// Starting takes about 10 s, or much longer on a machine that is busy building.
const WITHIN: Duration = Duration::from_secs(240);

/// `host:port` of a server that tests may use instead of starting one, unless they have to kill or
/// freeze it. The user must be allowed to create keyspaces.
const VARIABLE: &str = "TOWER_REVOKE_TEST_CASSANDRA";

/// JVM packages that Cassandra reflects on, as in its own `jvm17-server.options`.
const EXPORTS: &[&str] = &[
    "java.base/java.lang.ref",
    "java.base/jdk.internal.misc",
    "java.management/com.sun.jmx.remote.security",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
];
const OPENS: &[&str] = &[
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
];

/// A single node waits for no others. JMX stays off, because it would listen on every address.
const PROPERTIES: &[&str] = &[
    "-Xms512m",
    "-Xmx1g",
    "-XX:+UseSerialGC",
    // In a process that lives for seconds, the second compiler costs more than it gains.
    "-XX:TieredStopAtLevel=1",
    "-Djdk.attach.allowAttachSelf=true",
    // Otherwise it would close its output.
    "-Dcassandra-foreground=yes",
    "-Dcassandra.ring_delay_ms=1",
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.superuser_setup_delay_ms=0",
];

/// A server without authentication.
pub struct Cassandra {
    pub(super) process: ServerProcess,
    data: TempDir,
    jars: PathBuf,
    port: u16,
}

impl Cassandra {
    /// Starts a server on free ports with more settings, as lines of its `cassandra.yaml`.
    pub async fn start(settings: &[&str]) -> Self {
        let jars = installed("cassandra").join("lib");
        let data = TempDir::new().expect("a temp dir");
        let [port, storage_port] = free_ports();
        let mut yaml = SETTINGS
            .replace("{port}", &port.to_string())
            .replace("{storage_port}", &storage_port.to_string());
        for line in settings {
            yaml.push_str(line);
            yaml.push('\n');
        }
        for (name, text) in [("cassandra.yaml", yaml.as_str()), ("logback.xml", LOGBACK)] {
            fs::write(data.path().join(name), text).expect("a writable temp dir");
        }
        let mut cassandra = Self {
            process: ServerProcess::default(),
            data,
            jars,
            port,
        };
        cassandra.restart().await;
        cassandra
    }

    /// Starts it with the data on disk.
    pub(super) async fn restart(&mut self) {
        let rest = TempDir::new().expect("a temp dir");
        let mut process = Process::start("Cassandra", "java", rest, |command| {
            let file = |name: &str| format!("file://{}", self.data.path().join(name).display());
            let folder = self.data.path().join("data");
            for (option, packages) in [("--add-exports", EXPORTS), ("--add-opens", OPENS)] {
                for package in packages {
                    command.arg(format!("{option}={package}=ALL-UNNAMED"));
                }
            }
            command
                .current_dir(self.data.path())
                .args(PROPERTIES)
                .arg(format!("-Dcassandra.config={}", file("cassandra.yaml")))
                .arg(format!("-Dcassandra.storagedir={}", folder.display()))
                .arg(format!(
                    "-Dlogback.configurationFile={}",
                    file("logback.xml")
                ))
                .arg(format!("-Djava.io.tmpdir={}", self.data.path().display()))
                .arg("-cp")
                .arg(self.jars.join("*"))
                .arg("org.apache.cassandra.service.CassandraDaemon");
        });
        process
            .says("that it is ready", WITHIN, |line| {
                line.contains("Startup complete").then_some(())
            })
            .await;
        self.process = ServerProcess::of(process);
    }

    /// Returns the folder of its data, which can be copied while it is down.
    pub fn data(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// Copies its data to or from a backup.
    ///
    /// # Panics
    /// If the server is running.
    pub fn copy_data(&self, from: &Path, to: &Path) {
        assert!(self.process.is_gone(), "the server is still running");
        let _ = fs::remove_dir_all(to);
        copy(from, to).expect("folders to copy");
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl fmt::Debug for Cassandra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cassandra")
            .field("port", &self.port)
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

/// A server that tests don't kill or freeze: the one that the variable names, or a new one.
#[derive(Debug)]
pub enum SharedCassandra {
    /// The server that the variable names.
    Theirs(String),
    /// A server that this process has started.
    Ours(Cassandra),
}

impl SharedCassandra {
    /// Uses the server that the variable names, or starts one.
    pub async fn start() -> Self {
        match Self::named() {
            Some(address) => Self::Theirs(address),
            None => Self::Ours(Cassandra::start(&[]).await),
        }
    }

    /// Returns the address in the variable.
    pub fn named() -> Option<String> {
        std::env::var(VARIABLE).ok()
    }

    /// Returns its address.
    pub fn address(&self) -> String {
        match self {
            Self::Theirs(address) => address.clone(),
            Self::Ours(cassandra) => cassandra.address(),
        }
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Binds both at once, so that they differ.
fn free_ports() -> [u16; 2] {
    let listeners = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| {
        let address = listener.local_addr();
        address.expect("a bound socket").port()
    })
}
