//! The servers of the stores, and the faults that tests inject.

use std::time::Duration;

use tower_revoke::core::{Store, StoreError};
use tower_revoke_store_cassandra::CassandraStore;
use tower_revoke_store_redis::RedisStore;
use tower_revoke_store_sql::{MySqlStore, PostgresStore};
use tower_revoke_testing::conformance::Fault;

use super::{Cassandra, MariaDb, Postgres, Redis};

/// A server that a test owns, and may kill and freeze. Its data survives that.
#[expect(
    async_fn_in_trait,
    reason = "a test waits for them on its own thread, on which servers are started"
)]
pub trait StoreServer: Sized {
    /// The store on this server.
    type Store: Store + Clone;

    /// Starts a server, as durable as possible.
    async fn fresh() -> Self;

    /// Returns its address, in the form that the store takes.
    fn place(&self) -> String;

    /// Opens the store as users do.
    ///
    /// # Panics
    /// If the server is not reachable.
    async fn open(&self) -> Self::Store;

    /// Opens the store with this timeout for each request.
    ///
    /// # Panics
    /// If the server is not reachable.
    async fn open_impatient(&self, request_timeout: Duration) -> Self::Store;

    /// Kills the server, as a crash does.
    async fn kill(&mut self);

    /// Restarts it after [`kill`](Self::kill), with the data on disk.
    async fn restart(&mut self);

    /// Freezes the server: it accepts connections, but no longer responds.
    fn freeze(&self);

    /// Lets it continue.
    fn thaw(&self);

    /// Injects a fault that works alike for every server. Returns `false` for the others, which the
    /// store's own test must inject.
    async fn suffers(&mut self, harm: Fault) -> bool {
        match harm {
            Fault::Restart => {
                self.kill().await;
                self.restart().await;
            }
            Fault::Stop => self.kill().await,
            Fault::Start => self.restart().await,
            Fault::Freeze => self.freeze(),
            Fault::Thaw => self.thaw(),
            _ => return false,
        }
        true
    }
}

/// Whether the error says that the store is unreachable.
pub fn is_outage(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::TimedOut(_))
}

/// Implements the faults that signals to the server's process can inject.
macro_rules! suffers_by_its_process {
    () => {
        async fn kill(&mut self) {
            self.process.kill().await;
        }

        async fn restart(&mut self) {
            Self::restart(self).await;
        }

        fn freeze(&self) {
            self.process.freeze();
        }

        fn thaw(&self) {
            self.process.thaw();
        }
    };
}

impl StoreServer for Redis {
    type Store = RedisStore;

    async fn fresh() -> Self {
        Self::start(&[]).await
    }

    fn place(&self) -> String {
        self.url()
    }

    async fn open(&self) -> RedisStore {
        let store = RedisStore::connect(&self.url()).await;
        store.expect("a running server")
    }

    async fn open_impatient(&self, request_timeout: Duration) -> RedisStore {
        let store = RedisStore::builder(&self.url()).request_timeout(request_timeout);
        store.connect().await.expect("a running server")
    }

    suffers_by_its_process!();
}

impl StoreServer for Postgres {
    type Store = PostgresStore;

    async fn fresh() -> Self {
        Self::start(&[]).await
    }

    fn place(&self) -> String {
        self.url()
    }

    async fn open(&self) -> PostgresStore {
        let store = PostgresStore::connect(self.url()).await;
        store.expect("a running server")
    }

    async fn open_impatient(&self, request_timeout: Duration) -> PostgresStore {
        let store = PostgresStore::builder(self.url()).request_timeout(request_timeout);
        store.connect().await.expect("a running server")
    }

    suffers_by_its_process!();
}

impl StoreServer for MariaDb {
    type Store = MySqlStore;

    async fn fresh() -> Self {
        Self::start(&[]).await
    }

    fn place(&self) -> String {
        self.url()
    }

    async fn open(&self) -> MySqlStore {
        let store = MySqlStore::connect(self.url()).await;
        store.expect("a running server")
    }

    async fn open_impatient(&self, request_timeout: Duration) -> MySqlStore {
        let store = MySqlStore::builder(self.url()).request_timeout(request_timeout);
        store.connect().await.expect("a running server")
    }

    suffers_by_its_process!();
}

/// Its keyspace is created with the server.
impl StoreServer for Cassandra {
    type Store = CassandraStore;

    async fn fresh() -> Self {
        let server = Self::start(&[]).await;
        let builder = CassandraStore::builder([server.address()]);
        // Allows for a busy machine.
        let patient = builder.request_timeout(Duration::from_secs(10));
        let made = patient.migrate("{'class': 'SimpleStrategy', 'replication_factor': 1}");
        made.await.expect("a running server");
        server
    }

    fn place(&self) -> String {
        self.address()
    }

    async fn open(&self) -> CassandraStore {
        let store = CassandraStore::builder([self.address()]).connect().await;
        store.expect("a running server")
    }

    async fn open_impatient(&self, request_timeout: Duration) -> CassandraStore {
        let store = CassandraStore::builder([self.address()]).request_timeout(request_timeout);
        store.connect().await.expect("a running server")
    }

    suffers_by_its_process!();
}
