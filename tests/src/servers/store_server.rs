//! A server that stores share, and what may be done to it.

use std::time::Duration;

use tower_revoke::core::{Store, StoreError};
use tower_revoke_store_cassandra::CassandraStore;
use tower_revoke_store_redis::RedisStore;
use tower_revoke_store_sql::{MySqlStore, PostgresStore};
use tower_revoke_testing::conformance::Fault;

use super::{Cassandra, MariaDb, Postgres, Redis};

/// A server of its own for a test, which may kill it and freeze it. Its data outlive it.
#[expect(
    async_fn_in_trait,
    reason = "a test waits for them on its own thread, on which servers are started"
)]
pub trait StoreServer: Sized {
    /// The store on it.
    type Store: Store + Clone;

    /// Starts one, as durable as it can be.
    async fn fresh() -> Self;

    /// Where it is, as the store is told.
    fn place(&self) -> String;

    /// Opens the store on it as users do.
    ///
    /// # Panics
    /// If the server is not up.
    async fn open(&self) -> Self::Store;

    /// The same, but each call waits no longer than that for the server.
    ///
    /// # Panics
    /// If the server is not up.
    async fn open_impatient(&self, request_timeout: Duration) -> Self::Store;

    /// Ends it as a crash does.
    async fn kill(&mut self);

    /// Starts it again after [`kill`](Self::kill), with what it has on disk.
    async fn restart(&mut self);

    /// It takes connections, and says nothing any more.
    fn freeze(&self);

    /// It goes on.
    fn thaw(&self);

    /// What the conformance suite does to servers of all kinds. `false`: how the rest is done only
    /// the store's own test knows.
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

/// Whether a store that can't be reached says so.
pub fn is_outage(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::TimedOut(_))
}

/// What is done to the process of a server.
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
        store.expect("a server that is up")
    }

    async fn open_impatient(&self, request_timeout: Duration) -> RedisStore {
        let store = RedisStore::builder(&self.url()).request_timeout(request_timeout);
        store.connect().await.expect("a server that is up")
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
        store.expect("a server that is up")
    }

    async fn open_impatient(&self, request_timeout: Duration) -> PostgresStore {
        let store = PostgresStore::builder(self.url()).request_timeout(request_timeout);
        store.connect().await.expect("a server that is up")
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
        store.expect("a server that is up")
    }

    async fn open_impatient(&self, request_timeout: Duration) -> MySqlStore {
        let store = MySqlStore::builder(self.url()).request_timeout(request_timeout);
        store.connect().await.expect("a server that is up")
    }

    suffers_by_its_process!();
}

/// With its keyspace.
impl StoreServer for Cassandra {
    type Store = CassandraStore;

    async fn fresh() -> Self {
        let server = Self::start(&[]).await;
        let builder = CassandraStore::builder([server.address()]);
        // On a machine that may be busy.
        let patient = builder.request_timeout(Duration::from_secs(10));
        let made = patient.migrate("{'class': 'SimpleStrategy', 'replication_factor': 1}");
        made.await.expect("a server that is up");
        server
    }

    fn place(&self) -> String {
        self.address()
    }

    async fn open(&self) -> CassandraStore {
        let store = CassandraStore::builder([self.address()]).connect().await;
        store.expect("a server that is up")
    }

    async fn open_impatient(&self, request_timeout: Duration) -> CassandraStore {
        let store = CassandraStore::builder([self.address()]).request_timeout(request_timeout);
        store.connect().await.expect("a server that is up")
    }

    suffers_by_its_process!();
}
