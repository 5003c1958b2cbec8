//! The restore drill: a backup of each store is restored, and the nodes write back what they know.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::json;
use tempfile::TempDir;
use tower_revoke::{
    MirrorSnapshot, RevocationList,
    core::{
        Claims, Lift, Revocation, RevocationKey, Store, TokenStatus, UseOutcome, VerifiedToken,
    },
};
use tower_revoke_store_cassandra::CassandraStore;
use tower_revoke_store_embedded::EmbeddedStore;
use tower_revoke_store_redis::RedisStore;
use tower_revoke_store_sql::{MySqlStore, PostgresStore, SqliteStore};
use tower_revoke_tests::{
    load::{new_use, now, token},
    servers::{Cassandra, MariaDb, Postgres, Redis, StoreServer, wait_until},
};

const ISSUER: &str = "https://id.example.com";
const LIMIT: Duration = Duration::from_secs(60);

/// A store with a backup, restored as operators do.
trait Restorable {
    type Store: Store;

    /// Whether the nodes run on while the backup is restored. Otherwise they are stopped, and start
    /// again from their snapshots.
    const NODES_RUN_ON: bool;

    async fn open(&mut self) -> Self::Store;

    async fn back_up(&mut self);

    async fn restore(&mut self);

    /// Closes the store, once the nodes are stopped.
    async fn close(&mut self) {}
}

/// Two nodes, each with a snapshot.
struct Nodes([RevocationList; 2]);

impl Nodes {
    async fn start<R: Restorable>(store: &mut R, folder: &Path) -> Self {
        let mut nodes = Vec::new();
        for name in ["one", "other"] {
            let snapshot = MirrorSnapshot::new(folder.join(name), [7; 32]);
            let list = RevocationList::builder(store.open().await)
                .max_staleness(Duration::from_secs(1))
                .snapshot(snapshot)
                .build()
                .expect("valid settings");
            is_ready(&list).await;
            nodes.push(list);
        }
        Self(nodes.try_into().expect("two nodes"))
    }

    async fn stop<R: Restorable>(self, store: &mut R) {
        for node in &self.0 {
            node.shutdown(LIMIT).await.expect("a snapshot");
        }
        drop(self);
        store.close().await;
    }

    /// Waits until both know that the tokens have this status.
    async fn know(&self, tokens: &[&VerifiedToken], status: TokenStatus) {
        wait_until("both nodes know it", || {
            let mut nodes = self.0.iter();
            nodes.all(|node| {
                let knows = |token: &&VerifiedToken| node.known_status(token) == Some(status);
                tokens.iter().all(knows)
            })
        })
        .await;
    }
}

async fn is_ready(list: &RevocationList) {
    let ready = async {
        while list.ready().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let in_time = tokio::time::timeout(LIMIT, ready).await;
    in_time.expect("the node is ready in the end");
}

/// The token with this number, of a subject.
fn of(subject: &str, number: u64) -> VerifiedToken {
    let claims = json!({"iss": ISSUER, "sub": subject, "iat": now().as_secs() - 60});
    let claims = Claims::from_value(claims).expect("claims");
    VerifiedToken::new(token(number), claims, Duration::ZERO)
}

fn end_of(token: &VerifiedToken) -> Revocation {
    let until = now().saturating_add(Duration::from_secs(3_600));
    Revocation::of_token(token.id(), Some(until))
}

async fn drill<R: Restorable>(mut store: R) {
    let folder = tempfile::tempdir().expect("a temp dir");
    let [kept, lifted, lost, spent] = [1, 2, 3, 4].map(|number| of("ann", number));
    let ruled = of("bob", 5);
    let nodes = Nodes::start(&mut store, folder.path()).await;
    for token in [&kept, &lifted] {
        nodes.0[0]
            .revoke(end_of(token))
            .await
            .expect("a revocation");
    }
    nodes.know(&[&kept, &lifted], TokenStatus::Revoked).await;

    let nodes = if R::NODES_RUN_ON {
        store.back_up().await;
        nodes
    } else {
        nodes.stop(&mut store).await;
        store.back_up().await;
        Nodes::start(&mut store, folder.path()).await
    };
    let [one, other] = &nodes.0;
    // A driver may still be connecting to a server that was stopped for the backup.
    for node in [one, other] {
        let works = async {
            while node.revoke(end_of(&lost)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = tokio::time::timeout(LIMIT, works).await;
        in_time.expect("the store is back");
    }
    let rule = Revocation::all_of(RevocationKey::subject(ISSUER, "bob")).expect("a rule");
    other.revoke(rule).await.expect("a revocation");
    let taken = other.take_use(new_use(4, 1, 1)).await.expect("a use");
    assert!(matches!(taken, UseOutcome::Taken { left: 0 }), "{taken:?}");
    let lift = Lift::new(lifted.id()).by("ann").because("found again");
    assert!(one.lift(lift).await.expect("a lift"));
    nodes
        .know(&[&kept, &lost, &ruled], TokenStatus::Revoked)
        .await;
    nodes.know(&[&spent], TokenStatus::Spent).await;
    nodes.know(&[&lifted], TokenStatus::Valid).await;

    let nodes = if R::NODES_RUN_ON {
        store.restore().await;
        nodes
    } else {
        nodes.stop(&mut store).await;
        store.restore().await;
        Nodes::start(&mut store, folder.path()).await
    };
    wait_until("it was written back", || {
        let written = |node: &RevocationList| node.stats().written_back > 0;
        match R::NODES_RUN_ON {
            // The use is written back by the node that took it, and by no other.
            true => written(&nodes.0[1]),
            false => nodes.0.iter().any(written),
        }
    })
    .await;
    for node in &nodes.0 {
        is_ready(node).await;
    }
    // A new node knows only what the store has.
    let new = RevocationList::new(store.open().await);
    is_ready(&new).await;
    for node in nodes.0.iter().chain([&new]) {
        for token in [&kept, &lost, &ruled] {
            let status = node.status(token).await.expect("a status");
            assert_eq!(status, TokenStatus::Revoked, "{:?}", token.id());
        }
        assert_ne!(
            node.status(&spent).await.expect("a status"),
            TokenStatus::Valid
        );
        assert_eq!(
            node.status(&lifted).await.expect("a status"),
            TokenStatus::Valid
        );
    }
    let again = new.take_use(new_use(4, 2, 1)).await.expect("an answer");
    assert_eq!(again, UseOutcome::Spent);
}

/// Runs a program with a file as its input or output.
fn run(command: &mut Command) {
    let status = command.status().expect("it is installed");
    assert!(status.success(), "{command:?}: {status}");
}

struct RedisRdb {
    server: Redis,
    backup: Vec<u8>,
}

impl RedisRdb {
    fn file(&self) -> PathBuf {
        self.server.data().join("dump.rdb")
    }
}

impl Restorable for RedisRdb {
    type Store = RedisStore;

    const NODES_RUN_ON: bool = true;

    async fn open(&mut self) -> RedisStore {
        StoreServer::open(&self.server).await
    }

    async fn back_up(&mut self) {
        assert_eq!(self.server.cli(&["SAVE"]), "OK");
        self.backup = fs::read(self.file()).expect("an RDB file");
    }

    async fn restore(&mut self) {
        StoreServer::kill(&mut self.server).await;
        fs::write(self.file(), &self.backup).expect("an RDB file");
        StoreServer::restart(&mut self.server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_an_rdb_file_of_redis_is_restored() {
    let server = Redis::start(&["--appendonly", "no"]).await;
    let backup = Vec::new();
    drill(RedisRdb { server, backup }).await;
}

struct PostgresDump {
    server: Postgres,
    folder: TempDir,
}

impl Restorable for PostgresDump {
    type Store = PostgresStore;

    const NODES_RUN_ON: bool = true;

    async fn open(&mut self) -> PostgresStore {
        StoreServer::open(&self.server).await
    }

    async fn back_up(&mut self) {
        let mut dump = Command::new("pg_dump");
        dump.args(["--clean", "--if-exists", "--file"])
            .arg(self.folder.path().join("dump.sql"))
            .arg(self.server.url());
        run(&mut dump);
    }

    async fn restore(&mut self) {
        // In one transaction, so that the nodes never see half of it.
        let mut restore = Command::new("psql");
        restore
            .args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f"])
            .arg(self.folder.path().join("dump.sql"))
            .arg(self.server.url())
            .stdout(Stdio::null());
        run(&mut restore);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_a_dump_of_postgres_is_restored() {
    let server = Postgres::start(&[]).await;
    let folder = tempfile::tempdir().expect("a temp dir");
    drill(PostgresDump { server, folder }).await;
}

struct MariaDbDump {
    server: MariaDb,
    folder: TempDir,
}

impl MariaDbDump {
    fn client(&self, program: &str) -> Command {
        let url = self.server.url();
        let port = url
            .rsplit_once(':')
            .and_then(|(_, rest)| rest.split_once('/'));
        let (port, database) = port.expect("a port and a database");
        let mut client = Command::new(program);
        client.args(["--no-defaults", "-h", "127.0.0.1", "-u", "root", "-P", port]);
        client.arg(database);
        client
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("dump.sql")
    }
}

impl Restorable for MariaDbDump {
    type Store = MySqlStore;

    const NODES_RUN_ON: bool = false;

    async fn open(&mut self) -> MySqlStore {
        StoreServer::open(&self.server).await
    }

    async fn back_up(&mut self) {
        let file = fs::File::create(self.file()).expect("a file");
        let mut dump = self.client("mariadb-dump");
        run(dump.arg("--single-transaction").stdout(file));
    }

    async fn restore(&mut self) {
        let file = fs::File::open(self.file()).expect("a file");
        run(self.client("mariadb").stdin(file));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_a_dump_of_mariadb_is_restored() {
    let server = MariaDb::start(&[]).await;
    let folder = tempfile::tempdir().expect("a temp dir");
    drill(MariaDbDump { server, folder }).await;
}

/// A snapshot of all tables, put back while the server is stopped.
struct CassandraSnapshot {
    server: Cassandra,
    folder: TempDir,
}

impl Restorable for CassandraSnapshot {
    type Store = CassandraStore;

    const NODES_RUN_ON: bool = true;

    async fn open(&mut self) -> CassandraStore {
        StoreServer::open(&self.server).await
    }

    async fn back_up(&mut self) {
        StoreServer::kill(&mut self.server).await;
        self.server
            .copy_data(&self.server.data(), self.folder.path());
        StoreServer::restart(&mut self.server).await;
    }

    async fn restore(&mut self) {
        StoreServer::kill(&mut self.server).await;
        self.server
            .copy_data(self.folder.path(), &self.server.data());
        StoreServer::restart(&mut self.server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_a_snapshot_of_cassandra_is_restored() {
    let server = Cassandra::fresh().await;
    let folder = tempfile::tempdir().expect("a temp dir");
    drill(CassandraSnapshot { server, folder }).await;
}

/// Copies a folder in place of another one.
fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("a file")),
        }
    }
}

struct SqliteCopy(TempDir);

impl SqliteCopy {
    fn folder(&self) -> PathBuf {
        self.0.path().join("db")
    }

    fn file(&self) -> PathBuf {
        self.folder().join("revocations.db")
    }
}

impl Restorable for SqliteCopy {
    type Store = SqliteStore;

    const NODES_RUN_ON: bool = false;

    async fn open(&mut self) -> SqliteStore {
        SqliteStore::open(self.file()).await.expect("a file")
    }

    async fn back_up(&mut self) {
        copy(&self.folder(), &self.0.path().join("backup"));
    }

    async fn restore(&mut self) {
        copy(&self.0.path().join("backup"), &self.folder());
    }

    /// The last connection removes the log.
    async fn close(&mut self) {
        let log = self.folder().join("revocations.db-wal");
        wait_until("the file is closed", || !log.exists()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_a_copy_of_a_sqlite_file_is_restored() {
    let store = SqliteCopy(tempfile::tempdir().expect("a temp dir"));
    fs::create_dir(store.folder()).expect("a folder");
    drill(store).await;
}

/// One process opens the folder, so both nodes share a handle.
struct EmbeddedCopy {
    folder: TempDir,
    open: Option<EmbeddedStore>,
}

impl EmbeddedCopy {
    fn path(&self) -> PathBuf {
        self.folder.path().join("revocations")
    }

    fn backup(&self) -> PathBuf {
        self.folder.path().join("backup")
    }
}

impl Restorable for EmbeddedCopy {
    type Store = EmbeddedStore;

    const NODES_RUN_ON: bool = false;

    async fn open(&mut self) -> EmbeddedStore {
        let path = self.path();
        let open = || EmbeddedStore::open(path).expect("a folder");
        self.open.get_or_insert_with(open).clone()
    }

    async fn back_up(&mut self) {
        copy(&self.path(), &self.backup());
    }

    async fn restore(&mut self) {
        copy(&self.backup(), &self.path());
    }

    async fn close(&mut self) {
        self.open = None;
        let path = self.path();
        // The nodes' tasks end asynchronously, and the folder is locked until they have.
        wait_until("the folder is closed", || {
            EmbeddedStore::open(&path).is_ok()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_a_copy_of_an_embedded_folder_is_restored() {
    let folder = tempfile::tempdir().expect("a temp dir");
    drill(EmbeddedCopy { folder, open: None }).await;
}
