//! A [`Store`](tower_revoke_core::Store) of revocations, uses and issued tokens in a database
//! that all nodes share, on [sqlx](https://docs.rs/sqlx):
//!
//! | store | database |
//! |---|---|
//! | `PostgresStore` | PostgreSQL 13 or newer; tested with 15 |
//! | `MySqlStore` | MariaDB 10.6 or newer, tested with 10.11; MySQL 8.0 or newer, by its manual and not tested |
//! | `SqliteStore` | a SQLite file, shared by the processes of one machine; its docs state its guarantees, the rest of this page is about servers |
//!
//! # Examples
//! ```no_run
//! # #[cfg(feature = "postgres")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_revoke_list::RevocationList;
//! use tower_revoke_store_sql::PostgresStore;
//!
//! let store = PostgresStore::connect("postgres://orders@db.example.com/orders").await?;
//! let list = RevocationList::new(store);
//! # let _ = list;
//! # Ok(()) }
//! ```
//!
//! # Guarantees
//!
//! * **A use has one winner** among all nodes that share the schema or the tables on one primary. A
//!   writer takes a lock before it reads, and so sees everything that was committed before it: in
//!   PostgreSQL an advisory lock, in MariaDB and MySQL the lock on the only row of the table
//!   `store`.
//! * **An acknowledged write is durable**: committed by the primary, with its log flushed to disk.
//!   It survives a crash of the server and of its machine if the server flushes its log. If the
//!   server is configured not to, the store opens and logs a warning.
//!   * PostgreSQL: `fsync` must be on. If `synchronous_commit` is `off`, each of our writes turns
//!     it on for itself. With `synchronous_standby_names`, the write has reached the standbys too.
//!   * MariaDB and MySQL: `innodb_flush_log_at_trx_commit` must be 1, and `sync_binlog` as well if
//!     there is a binary log (MariaDB defaults to 0). No session can change either.
//! * **A fail-over to a standby or replica that lagged loses what had not reached it**:
//!   revocations, and uses, which can then be taken a second time. Restoring a backup does the
//!   same. Synchronous replication loses nothing.
//! * **Lost history is detected.** Each event carries a random mark of its transaction, and a
//!   cursor holds that of the last event it has seen. If the mark differs, the feed fails with
//!   [`HistoryWentBack`](tower_revoke_core::StoreError::HistoryWentBack), even if the new history
//!   has grown past the loss.
//! * **Nothing expires by itself**: only [`purge`](tower_revoke_core::Store::purge) removes
//!   entries, by the caller's clock. A step of the server's clock changes nothing.
//! * **Ambiguous outcomes are reported as such.** If the connection breaks during a use, a
//!   revocation or a restore, the call is repeated under the same id over a new connection. A lift
//!   and the return of a use are not repeated, since a second answer would differ from the first.
//! * **The store recovers by itself.** If the server is down, calls fail with
//!   [`Unavailable`](tower_revoke_core::StoreError::Unavailable) at once; if it hangs, with
//!   [`TimedOut`](tower_revoke_core::StoreError::TimedOut) after `request_timeout`. The next call
//!   connects again.
//!
//! # What is rejected
//!
//! Opening a store lets two connections contend for one use, in a row that is removed again. If both
//! get it, because the server or a proxy lacks locks or isolation, the error is
//! `SqlStoreError::TwoWinners`. Some servers are rejected by name, as an `UnfitServer`: TiDB, Vitess,
//! CockroachDB, YugabyteDB, a Galera cluster of more than one member unless the builder's
//! `single_writer` was called, and a pooler of transactions. The builder's `allow_server` leaves the
//! decision to the contest. Other forks, such as Aurora, Percona or Neon, only have to pass it.
//! A SQLite file is rejected on a file system without locks.
//!
//! # How it works
//!
//! Concurrent writes of one node share a transaction and its flush to disk (group commit), so a
//! write costs less the more callers there are. The events of the feed are numbered under the
//! writers' lock, so they are committed in the order of their numbers. Once a number is visible, no
//! lower one can appear, so a reader misses no event.
//!
//! ## PostgreSQL
//!
//! The first uses of single-use tokens are taken by one call of a function in the schema, which takes
//! the lock; its commit releases it. Other writes take two round trips: the first locks and reads,
//! the second writes and commits. If a node stops between the two, the server ends its session after
//! a second and releases the lock. `NOTIFY` wakes callers of [`changed`](tower_revoke_core::ChangeFeed::changed) on all
//! nodes.
//!
//! The URL must lead to the primary. A standby is rejected when the store is opened; on a server that
//! becomes one later, look-ups, the feed and writes fail with
//! [`Unavailable`](tower_revoke_core::StoreError::Unavailable). A pooler in front of it must pool sessions (in PgBouncer,
//! `pool_mode = session`), because statements are prepared and settings belong to the session.
//!
//! The tables and functions have a schema of their own, `tower_revoke` by default. The login needs
//! `USAGE` on the schema, `SELECT`, `INSERT`, `UPDATE` and `DELETE` on its tables and `EXECUTE` on
//! its functions; to create the schema, `CREATE` on the database.
//!
//! ## MariaDB and MySQL
//!
//! A transaction takes two round trips: the first locks and reads, the second writes and commits.
//! If a node stops between the two, the server ends its session after a second and releases the
//! lock. The default `request_timeout` of the other nodes is longer than that.
//!
//! These servers don't notify clients of writes. A write wakes callers of
//! [`changed`](tower_revoke_core::ChangeFeed::changed) on the same handle; other nodes see it when
//! they next read the feed.
//!
//! The URL must lead to the primary. A server with `read_only` or `innodb_read_only` is rejected when
//! the store is opened, also for a login that could write to it; on a server that becomes read-only
//! later, all calls fail with [`Unavailable`](tower_revoke_core::StoreError::Unavailable). A proxy in
//! front of it must keep sessions and must not split
//! reads from writes. All nodes must use the same member of a Galera cluster, which the builder's
//! `single_writer` promises: another member may lag, and if two of them write, one fails to commit
//! and is retried. Galera was not tested.
//!
//! The tables belong to the database that the URL names, and their names begin with `tower_revoke_`
//! by default. They must use InnoDB. The login needs `SELECT`, `INSERT`, `UPDATE` and `DELETE` on
//! them; to create them, `CREATE`. Texts longer than half of the server's `max_allowed_packet` fail
//! with [`Unsupported`](tower_revoke_core::StoreError::Unsupported); nothing is truncated. The
//! store's own sessions override the settings that change the meaning of a statement: `sql_mode`,
//! the isolation level, `autocommit` and `completion_type`.
//!
//! By default the driver encrypts if the server can, and verifies no certificate. A connection to
//! another host that is not encrypted is logged as a warning, as it is for PostgreSQL. On an
//! untrusted network use `tls_roots`, or `ssl-mode=VERIFY_IDENTITY` in the URL. The driver depends on the
//! crate `rsa`, for which RUSTSEC-2023-0071 reports a timing attack on private keys. The driver
//! holds no private key: without TLS it encrypts the password with the server's public key.
//!
//! # A pool of yours
//!
//! `PostgresStore::from_pool` and `MySqlStore::from_pool` read through a `sqlx` pool of the
//! application. They rely on no setting of its sessions and change none. Writing and listening use
//! connections of the store's own, opened with the pool's connect options, so that an exhausted
//! pool delays no revocation. `request_timeout` bounds reads in the client only; a statement
//! timeout in the server is up to the pool.
//!
//! # The schema
//!
//! `connect` creates the tables or migrates those of an older release. With
//! `migrate_on_connect(false)` it only checks them, and `migrate` can run elsewhere, by a login
//! with more rights. Tables of a newer release are rejected. Tokens are stored as hashes, and uses
//! under random ids; the keys of rules, and who revoked and why, are readable.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `postgres` | `PostgresStore` |
//! | `mysql` | `MySqlStore`, for MariaDB and MySQL |
//! | `sqlite` | `SqliteStore`, with SQLite compiled in |
//! | `tls` | TLS by rustls and aws-lc-rs, with the setter `tls_roots` and the parameters of the URL (`sslmode=verify-full`, `sslrootcert`; `ssl-mode`, `ssl-ca`) |

#![cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]

// From the lowest module up: unfit, error, value, op, backend, rules, columns, text, batch,
// cursor, feed, queue, settings, probe, store, public, and the databases, which are independent of each other. Each imports
// only from those before it.
mod backend;
mod batch;
mod columns;
mod cursor;
mod error;
mod feed;
mod issued;
#[cfg(feature = "mysql")]
mod mysql;
mod op;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod probe;
mod public;
mod queue;
mod rules;
mod settings;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod text;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod unfit;
mod value;

#[cfg(feature = "mysql")]
pub use self::mysql::{MySqlStore, MySqlStoreBuilder};
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteStore, SqliteStoreBuilder, SqliteStoreError};
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub use self::{error::SqlStoreError, unfit::UnfitServer};
