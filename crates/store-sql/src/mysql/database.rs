//! The database behind a store, and reading it through a pool.

use std::{fmt, time::Duration};

use sqlx::{Executor, MySql as Driver, MySqlPool, mysql::MySqlRow, pool::PoolConnection};
use tokio::sync::watch;

use super::error::IS_READ_ONLY;
use crate::{batch::Tables, columns::Columns, error::Failure};

/// Surrounds a statement in a session of the user's pool, which may have any settings and may be in
/// a transaction: without autocommit every read begins one. The snapshot of that would be too old,
/// so it is rolled back. No setting of the session changes: `SET TRANSACTION` applies to the next
/// transaction only, and `NO CHAIN NO RELEASE` overrides `completion_type`.
const BEGIN: &str = "ROLLBACK AND NO CHAIN NO RELEASE;\
                     SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;\
                     START TRANSACTION READ ONLY;";
const END: &str = ";COMMIT AND NO CHAIN NO RELEASE";

/// The tables in a MariaDB or MySQL database.
pub(crate) struct MySql {
    pub(super) tables: Tables,
    /// The maximum length of a packet, in bytes.
    pub(super) packet: usize,
    /// The pool that reads. The connections that write use its connect options.
    pub(super) pool: MySqlPool,
    /// Whether the pool is the user's: it must not be closed here, and its sessions may have any
    /// settings.
    pub(super) is_borrowed: bool,
    pub(super) request_timeout: Duration,
    /// The number of the last event that this handle wrote. The server doesn't notify clients of
    /// the writes of others.
    pub(super) own: watch::Sender<i64>,
}

impl MySql {
    /// Returns the rows of one statement, which reads one snapshot. Uses the text protocol, which
    /// prepares nothing and takes one round trip. Fails if the server has become read-only, since
    /// what it knows may be old; another connection may lead to the primary.
    pub(super) async fn rows(&self, statement: &str) -> Result<Vec<MySqlRow>, Failure> {
        let mut lent = Lent(Some(self.pool.acquire().await?));
        let Some(connection) = &mut lent.0 else {
            return Ok(Vec::new());
        };
        let (begin, end) = match self.is_borrowed {
            true => (BEGIN, END),
            false => ("", ""),
        };
        let statements = format!("{begin}{statement};SELECT {IS_READ_ONLY}{end}");
        let mut rows = connection.fetch_all(sqlx::raw_sql(&statements)).await?;
        let is_read_only = rows.pop().ok_or(Failure::Garbled("a setting"))?;
        if is_read_only.number(0)? != 0 {
            return Err(Failure::ReadOnly);
        }
        lent.release();
        Ok(rows)
    }
}

/// A connection borrowed from the pool. Closes it if the call fails or is dropped: it may still be
/// in our transaction, or lead to a server that is read-only. [`release`](Self::release) returns it to the pool.
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
