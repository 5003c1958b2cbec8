//! A database, and how it is read through a pool.

use std::{fmt, time::Duration};

use sqlx::{Executor, MySql as Driver, MySqlPool, mysql::MySqlRow, pool::PoolConnection};
use tokio::sync::watch;

use super::sql::Tables;
use crate::error::Failure;

/// What surrounds a statement in a session of the user's pool. Such a session may have any default,
/// and may be in a transaction that nobody has ended, as without autocommit each read begins one; its
/// snapshot would be too old. No setting outlives this transaction.
const BEGIN: &str = "ROLLBACK AND NO CHAIN NO RELEASE;\
                     SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;\
                     START TRANSACTION READ ONLY;";
const END: &str = ";COMMIT AND NO CHAIN NO RELEASE";

/// The tables in a MariaDB or MySQL database.
pub(crate) struct MySql {
    pub(super) tables: Tables,
    /// How long a packet may be.
    pub(super) packet: usize,
    /// What reads. Its options are also those of the connections that write.
    pub(super) pool: MySqlPool,
    /// Whether the pool is the user's, who closes it and chose the settings of its sessions.
    pub(super) is_borrowed: bool,
    pub(super) request_timeout: Duration,
    /// The last event that was written here: the server doesn't announce the writes of others.
    pub(super) own: watch::Sender<i64>,
}

impl MySql {
    /// The rows of one statement, and so of one snapshot. By the text protocol, which prepares
    /// nothing and takes one round trip.
    pub(super) async fn rows(&self, statement: &str) -> Result<Vec<MySqlRow>, Failure> {
        if !self.is_borrowed {
            return Ok(self.pool.fetch_all(sqlx::raw_sql(statement)).await?);
        }
        let mut lent = Lent(Some(self.pool.acquire().await?));
        let Some(connection) = &mut lent.0 else {
            return Ok(Vec::new());
        };
        let statements = format!("{BEGIN}{statement}{END}");
        let rows = connection.fetch_all(sqlx::raw_sql(&statements)).await?;
        lent.release();
        Ok(rows)
    }
}

/// A connection of the user's pool. If the call fails or is dropped, the connection may be in a
/// transaction of ours, and is closed.
struct Lent(Option<PoolConnection<Driver>>);

impl Lent {
    fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

impl fmt::Debug for MySql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySql")
            .field("prefix", &self.tables.prefix)
            .finish_non_exhaustive()
    }
}
