//! The store in MariaDB and MySQL.

mod builder;
mod error;
mod keeping;
mod migrate;
mod reading;
mod session;
mod sql;
mod writing;

use std::fmt;

use sqlx::{MySqlPool, mysql::MySqlConnectOptions};
use tokio::sync::watch;
use tower_revoke_core::{KeyDigest, Listed, Record, RecordFilter, UnixTime};

pub use self::builder::MySqlStoreBuilder;
pub(crate) use self::error::kind;
use self::{session::Link, sql::Tables};
use crate::{
    SqlStoreError,
    backend::{Backend, Batch, Digest, Feed, Revoked, Trim, Used, Window},
    error::Failure,
    op::Answer,
    public::is_a_store,
    store::SqlStore,
};

/// MariaDB or MySQL, as the [`SqlStore`] sees it.
pub(crate) struct MySql {
    prefix: String,
    tables: Tables,
    options: MySqlConnectOptions,
    /// Of each session.
    settings: String,
    /// How long a packet may be.
    packet: usize,
    pool: MySqlPool,
    connections: u32,
    /// The last event that was written here: the server tells nobody of what others write.
    own: watch::Sender<i64>,
}

/// A [`Store`](tower_revoke_core::Store) in MariaDB or MySQL; a cheap handle, clones are the same
/// store.
///
/// See the [docs of the crate](crate) for what it promises.
#[derive(Clone, Debug)]
pub struct MySqlStore(SqlStore<MySql>);

is_a_store!(MySqlStore);

impl MySqlStore {
    /// Opens the store at `mysql://user:password@host:port/database`, with the default settings;
    /// see [`MySqlStoreBuilder::connect`].
    ///
    /// # Errors
    /// Any [`SqlStoreError`].
    pub async fn connect(address: impl Into<String>) -> Result<Self, SqlStoreError> {
        Self::builder(address).connect().await
    }

    /// The store at an address, with other settings. Behind a `?` may stand `ssl-mode`, `ssl-ca`,
    /// `ssl-cert`, `ssl-key`, and `socket`, the path of a Unix socket.
    pub fn builder(address: impl Into<String>) -> MySqlStoreBuilder {
        MySqlStoreBuilder::new(address.into())
    }
}

impl MySql {
    fn new(
        prefix: String,
        tables: Tables,
        options: MySqlConnectOptions,
        settings: String,
        packet: usize,
        pool: MySqlPool,
        connections: u32,
    ) -> Self {
        Self {
            prefix,
            tables,
            options,
            settings,
            packet,
            pool,
            connections,
            own: watch::Sender::new(0),
        }
    }
}

impl Backend for MySql {
    type Link = Link;

    async fn open(&self) -> Result<Link, Failure> {
        Ok(Link::open(&self.options, &self.settings).await?)
    }

    async fn close(&self, link: Option<Link>) {
        self.pool.close().await;
        if let Some(link) = link {
            link.close().await;
        }
    }

    async fn apply(&self, link: &mut Link, batch: &Batch<'_>) -> Result<Vec<Answer>, Failure> {
        let (answers, last) = writing::apply(link, &self.tables, batch).await?;
        if let Some(last) = last {
            self.own.send_replace(last);
        }
        Ok(answers)
    }

    async fn trim(&self, link: &mut Link, trim: Trim) -> Result<(), Failure> {
        keeping::trim(link, &self.tables, trim).await
    }

    async fn purge(&self, before: UnixTime, at_once: i64) -> Result<(u64, bool), Failure> {
        // By a connection of its own: one that is cut off in a transaction must go with it.
        let mut link = self.open().await?;
        let dropped = keeping::purge(&mut link, &self.tables, before, at_once).await?;
        link.close().await;
        Ok(dropped)
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, Failure> {
        reading::look_up(&self.pool, &self.tables, keys).await
    }

    async fn feed(&self, after: i64, at_most: usize) -> Result<Feed, Failure> {
        reading::feed(&self.pool, &self.tables, after, at_most).await
    }

    async fn revoked(
        &self,
        after: Option<Digest>,
        at_most: usize,
    ) -> Result<Vec<Revoked>, Failure> {
        reading::revoked(&self.pool, &self.tables, after, at_most).await
    }

    async fn uses(&self, after: Option<Digest>, at_most: usize) -> Result<Vec<Used>, Failure> {
        reading::uses(&self.pool, &self.tables, after, at_most).await
    }

    async fn record(&self, key: &KeyDigest) -> Result<Option<Record>, Failure> {
        reading::record(&self.pool, &self.tables, key).await
    }

    async fn records(
        &self,
        wanted: &RecordFilter,
        after: Option<Digest>,
        window: usize,
        at_most: usize,
    ) -> Result<Window, Failure> {
        reading::records(&self.pool, &self.tables, wanted, after, window, at_most).await
    }

    fn longest(&self) -> usize {
        // Two digits a byte, and what else is in a row.
        self.packet.saturating_sub(1_024) / 2
    }

    fn readers(&self) -> u32 {
        self.connections
    }

    async fn listen(&self, news: &watch::Sender<i64>) {
        let mut own = self.own.subscribe();
        loop {
            news.send_replace(*own.borrow_and_update());
            if own.changed().await.is_err() {
                return;
            }
        }
    }
}

impl fmt::Debug for MySql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySql")
            .field("prefix", &self.prefix)
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
    async fn all_can_be_spawned(builder: MySqlStoreBuilder, store: MySqlStore) {
        is_send(&builder.migrate());
        is_send(&builder.connect());
        is_send(&store.changes(None));
        is_send(&store.purge(UnixTime::EPOCH));
    }
}
