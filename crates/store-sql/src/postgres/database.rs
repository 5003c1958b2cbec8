//! The database behind a store, and the options of connections to it.

use std::{fmt, time::Duration};

use sqlx::{ConnectOptions, PgPool, postgres::PgConnectOptions};

use super::statements::Statements;
use crate::batch::Tables;

/// One schema of a PostgreSQL database.
pub(crate) struct Postgres {
    pub(super) tables: Tables,
    /// The pool that reads and purges. The connections that write and listen use its connect
    /// options.
    pub(super) pool: PgPool,
    /// Whether the pool is the user's, and must not be closed here.
    pub(super) is_borrowed: bool,
    pub(super) request_timeout: Duration,
    /// The channel on which the number of the last event is notified.
    pub(super) channel: String,
    pub(super) statements: Statements,
}

impl Postgres {
    /// Returns the options of a connection that writes or listens.
    pub(super) fn options(&self) -> PgConnectOptions {
        options(&self.pool.connect_options(), self.request_timeout)
    }
}

/// Adds the settings that our statements rely on, whatever the defaults of the server, the role or
/// the pool. If a setting is given twice, the server uses the later one, which is ours.
pub(super) fn options(given: &PgConnectOptions, statement_timeout: Duration) -> PgConnectOptions {
    let mut options = given.clone();
    if options.get_application_name().is_none() {
        options = options.application_name("tower-revoke");
    }
    let millis = statement_timeout.as_millis().max(1).to_string();
    let options = options.options([
        // Under READ COMMITTED each statement of a function takes a snapshot of its own, so after
        // the lock is taken they see all that its earlier holders have committed. Under REPEATABLE
        // READ the snapshot would be from before the wait for the lock.
        ("default_transaction_isolation", "read\\ committed"),
        ("default_transaction_read_only", "off"),
        ("statement_timeout", millis.as_str()),
        // JIT compilation takes longer than running any of our statements.
        ("jit", "off"),
    ]);
    options.disable_statement_logging()
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("schema", &self.tables.prefix)
            .finish_non_exhaustive()
    }
}
