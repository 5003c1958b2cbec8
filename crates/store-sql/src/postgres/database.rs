//! A database, and how connections to it are set up.

use std::{fmt, time::Duration};

use sqlx::{ConnectOptions, PgPool, postgres::PgConnectOptions};

use super::statements::Statements;

/// One schema of a PostgreSQL database.
pub(crate) struct Postgres {
    pub(super) schema: String,
    /// What reads. Its options are also those of the connections that write and listen.
    pub(super) pool: PgPool,
    /// Whether the pool is the user's, who closes it.
    pub(super) is_borrowed: bool,
    pub(super) request_timeout: Duration,
    /// Where the numbers of events are announced.
    pub(super) channel: String,
    pub(super) statements: Statements,
}

impl Postgres {
    /// The options of a connection of our own.
    pub(super) fn options(&self) -> PgConnectOptions {
        options(&self.pool.connect_options(), self.request_timeout)
    }
}

/// Adds what our statements rely on, whatever the defaults of the server, the role or the pool are.
/// Of two settings of one name the server takes the later one.
pub(super) fn options(given: &PgConnectOptions, statement_timeout: Duration) -> PgConnectOptions {
    let mut options = given.clone();
    if options.get_application_name().is_none() {
        options = options.application_name("tower-revoke");
    }
    let millis = statement_timeout.as_millis().max(1).to_string();
    let options = options.options([
        // A function sees what was committed before it took the lock only if each of its statements
        // takes a snapshot of its own.
        ("default_transaction_isolation", "read\\ committed"),
        ("default_transaction_read_only", "off"),
        ("statement_timeout", millis.as_str()),
        // Compiling a statement takes longer than running any of ours.
        ("jit", "off"),
    ]);
    options.disable_statement_logging()
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}
