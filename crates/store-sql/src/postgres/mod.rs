//! The store in PostgreSQL.

mod builder;
mod migrate;
mod reading;
mod statements;
mod wake;
mod writing;

use std::fmt;

use sqlx::{Connection, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::sync::watch;
use tower_revoke_core::{KeyDigest, Listed, Record, RecordFilter, UnixTime};

pub use self::builder::PostgresStoreBuilder;
use self::statements::Statements;
use crate::{
    SqlStoreError,
    backend::{Backend, Batch, Digest, Feed, Revoked, Trim, Used, Window},
    error::Failure,
    op::Answer,
    public::is_a_store,
    store::SqlStore,
};

/// PostgreSQL, as the [`SqlStore`] sees it.
pub(crate) struct Postgres {
    schema: String,
    /// Of the connection that writes.
    options: PgConnectOptions,
    pool: PgPool,
    connections: u32,
    listening: PgPool,
    /// Where the numbers of events are told.
    channel: String,
    statements: Statements,
}

/// A [`Store`](tower_revoke_core::Store) in PostgreSQL; a cheap handle, clones are the same store.
///
/// See the [docs of the crate](crate) for what it promises.
#[derive(Clone, Debug)]
pub struct PostgresStore(SqlStore<Postgres>);

is_a_store!(PostgresStore);

impl PostgresStore {
    /// Opens the store at `postgres://user:password@host:port/database`, with the default settings;
    /// see [`PostgresStoreBuilder::connect`].
    ///
    /// # Errors
    /// Any [`SqlStoreError`].
    pub async fn connect(address: impl Into<String>) -> Result<Self, SqlStoreError> {
        Self::builder(address).connect().await
    }

    /// The store at an address, with other settings. What libpq takes as parameters, such as
    /// `sslmode`, stands behind a `?`; what is not said is taken from the variables of libpq
    /// (`PGHOST`, …) and the file `.pgpass`.
    pub fn builder(address: impl Into<String>) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(address.into())
    }
}

impl Backend for Postgres {
    type Link = PgConnection;

    async fn open(&self) -> Result<PgConnection, Failure> {
        Ok(PgConnection::connect_with(&self.options).await?)
    }

    async fn close(&self, link: Option<PgConnection>) {
        // The server would find out by itself.
        self.listening.close().await;
        self.pool.close().await;
        if let Some(link) = link {
            let _ = link.close().await;
        }
    }

    async fn apply(
        &self,
        link: &mut PgConnection,
        batch: &Batch<'_>,
    ) -> Result<Vec<Answer>, Failure> {
        writing::apply(link, &self.statements, batch).await
    }

    async fn trim(&self, link: &mut PgConnection, trim: Trim) -> Result<(), Failure> {
        writing::trim(link, &self.statements, trim).await
    }

    async fn purge(&self, before: UnixTime, at_once: i64) -> Result<(u64, bool), Failure> {
        writing::purge(&self.pool, &self.statements, before, at_once).await
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, Failure> {
        reading::look_up(&self.pool, &self.statements, keys).await
    }

    async fn feed(&self, after: i64, at_most: usize) -> Result<Feed, Failure> {
        reading::feed(&self.pool, &self.statements, after, at_most).await
    }

    async fn revoked(
        &self,
        after: Option<Digest>,
        at_most: usize,
    ) -> Result<Vec<Revoked>, Failure> {
        reading::revoked(&self.pool, &self.statements, after, at_most).await
    }

    async fn uses(&self, after: Option<Digest>, at_most: usize) -> Result<Vec<Used>, Failure> {
        reading::uses(&self.pool, &self.statements, after, at_most).await
    }

    async fn record(&self, key: &KeyDigest) -> Result<Option<Record>, Failure> {
        reading::record(&self.pool, &self.statements, key).await
    }

    async fn records(
        &self,
        wanted: &RecordFilter,
        after: Option<Digest>,
        window: usize,
        at_most: usize,
    ) -> Result<Window, Failure> {
        let (pool, statements) = (&self.pool, &self.statements);
        reading::records(pool, statements, wanted, after, window, at_most).await
    }

    fn readers(&self) -> u32 {
        self.connections
    }

    async fn listen(&self, news: &watch::Sender<i64>) {
        let (pool, last) = (&self.listening, &self.statements.last_event);
        wake::listen(pool, last, &self.channel, news).await;
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tower_revoke_core::{ChangeFeed, Store};

    use super::*;

    fn is_send<T: Send>(_: &T) {}

    /// Compiled, not run: nobody is there to answer.
    #[expect(dead_code, reason = "that it compiles is the test")]
    async fn all_can_be_spawned(builder: PostgresStoreBuilder, store: PostgresStore) {
        is_send(&builder.migrate());
        is_send(&builder.connect());
        is_send(&store.changes(None));
        is_send(&store.purge(UnixTime::EPOCH));
    }
}
