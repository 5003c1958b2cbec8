//! Revocations and uses of bearer tokens in a database that all nodes share, as a
//! [`Store`](tower_revoke_core::Store), by [sqlx](https://docs.rs/sqlx): PostgreSQL (13 or newer;
//! tested with 15), MariaDB (10.6 or newer; tested with 10.11), and MySQL (8.0 or newer; not tested:
//! what is said to it is what its manual and MariaDB's have in common).
//! [`SqliteStore`] keeps them in a file, for the processes of one machine; what it promises stands in
//! its own docs, and what follows here is of servers.
//!
//! ```no_run
//! # #[cfg(feature = "postgres")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_revoke_list::RevocationList;
//! use tower_revoke_store_sql::PostgresStore;
//!
//! let store = PostgresStore::connect("postgres://orders@db.example.com/orders").await?;
//! let list = RevocationList::over(store);
//! # let _ = list;
//! # Ok(()) }
//! ```
//!
//! # What is promised
//!
//! * **A use has one winner** among all nodes that use this schema, or these tables, of this primary:
//!   whoever writes takes a lock first, and so sees all that was written before. In PostgreSQL it is
//!   an advisory lock, in MariaDB and MySQL that of the one row of the table `store`.
//! * **Durable** means: committed by the primary, with its log flushed to the disk. It survives a crash
//!   of the server and of its machine, as long as the server is set to flush; where it is not, the
//!   store opens and logs a warning.
//!   * PostgreSQL: `fsync` is on. Where `synchronous_commit` is `off`, it is switched on for each write
//!     of ours. With `synchronous_standby_names` set, the standbys have it too.
//!   * MariaDB and MySQL: `innodb_flush_log_at_trx_commit` is 1, and so is `sync_binlog` where a binary
//!     log is kept (MariaDB's default is 0). These are the server's; no session can set them.
//! * **A fail-over to a standby or replica that was behind loses what that had not got yet**:
//!   revocations, and taken uses, which can then be taken a second time. A backup that is played
//!   back likewise. Who follows the feed is told so
//!   ([`HistoryWentBack`](tower_revoke_core::StoreError::HistoryWentBack)), also when new history has
//!   grown past the loss: each event carries a random mark of its transaction.
//!   Synchronous replication loses nothing.
//! * **Nothing expires by itself**: only [`purge`](tower_revoke_core::Store::purge) forgets, by the
//!   caller's clock. A step of the server's clock changes nothing.
//! * **In doubt is said to be in doubt.** When a connection breaks under a use, a revocation or what
//!   is written back, it is asked again under the same id, over a new connection; a lift or a release
//!   is not, since the second answer would not be that of the first. A server that is down gives
//!   [`Unavailable`](tower_revoke_core::StoreError::Unavailable) at once, one that is frozen
//!   [`TimedOut`](tower_revoke_core::StoreError::TimedOut) after `request_timeout`. Afterwards it goes on
//!   by itself.
//!
//! # How it works
//!
//! What callers of one node write at the same time goes to the server as one transaction with one
//! flush: the more callers, the cheaper each. The feed is numbered under the lock of those who write:
//! its numbers are committed in their order, and none is ever missed.
//!
//! ## PostgreSQL
//!
//! A transaction is one call of a function of the schema. The lock is taken and returned inside of
//! that call, so that a node that stops holds up nobody. `NOTIFY` wakes who waits for
//! [`changed`](tower_revoke_core::Store::changed).
//!
//! Give it the primary's address. A pooler in front of the server must keep sessions
//! (`pool_mode = session` of PgBouncer): statements are prepared, and settings belong to a session.
//!
//! Tables and functions stand in a schema of their own, `tower_revoke` unless
//! [another](PostgresStoreBuilder::schema) is named. The login needs `USAGE` on the schema, `SELECT`,
//! `INSERT`, `UPDATE` and `DELETE` on its tables, and `EXECUTE` on its functions; to create it,
//! `CREATE` on the database.
//!
//! ## MariaDB and MySQL
//!
//! A transaction is two round trips: the first locks and reads, the second writes and commits. A node
//! that stops between the two has the lock taken away by the server after a second; until then the
//! others wait, which is less long than a call may take. No server tells of what others write: a
//! write wakes who waits for [`changed`](tower_revoke_core::Store::changed) on the same handle, and of
//! the other nodes' writes a list hears when it asks the next time.
//!
//! Give it the primary's address. A proxy in front of the server must keep sessions, and must not send
//! reads elsewhere than writes. Of a Galera cluster all nodes must be given the same member: another
//! one may be behind, and two who write reject each other's commits, which are then tried again. It
//! was not tested.
//!
//! The tables stand in the database that the address names, and their names begin with
//! `tower_revoke_` unless [another prefix](MySqlStoreBuilder::prefix) is named. They are InnoDB's,
//! and what is not is rejected. The login needs `SELECT`, `INSERT`, `UPDATE` and `DELETE` on them; to
//! create them, `CREATE`. Words that are longer than half of the server's `max_allowed_packet` are
//! rejected ([`Unsupported`](tower_revoke_core::StoreError::Unsupported)); nothing is cut. Settings of
//! the server that would change what statements mean (`sql_mode`, the isolation level, `autocommit`,
//! `completion_type`) are set for each session.
//!
//! The driver encrypts by default where the server can, and checks nobody's certificate: say
//! `ssl-mode=VERIFY_IDENTITY`, and `ssl-ca`, where the network is not yours. It brings the crate `rsa`,
//! of which RUSTSEC-2023-0071 says that timing betrays private keys; the driver has none, and only
//! encrypts a password with the server's public key, where there is no TLS.
//!
//! # The schema
//!
//! `connect` creates it, or brings it to this version's state, unless `migrates(false)` is said; then
//! `migrate` is called by somebody who may. A schema that is newer than this version is rejected.
//! Tokens and claims are hashes; the keys of rules, and who revoked and why, are readable there.
//!
//! # Features
//!
//! | | |
//! |---|---|
//! | `postgres` | `PostgresStore` |
//! | `mysql` | `MySqlStore`, for MariaDB and MySQL |
//! | `sqlite` | `SqliteStore`; SQLite itself is compiled in |
//! | `tls` | TLS by rustls and aws-lc-rs, as the address says (`sslmode=verify-full`, `sslrootcert`; `ssl-mode`, `ssl-ca`) |

#![cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]

mod backend;
mod columns;
mod cursor;
mod error;
mod feed;
#[cfg(feature = "mysql")]
mod mysql;
mod op;
#[cfg(feature = "postgres")]
mod postgres;
mod public;
mod queue;
#[cfg(any(test, feature = "mysql", feature = "sqlite"))]
mod rules;
mod settings;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod value;

#[cfg(any(feature = "mysql", feature = "postgres"))]
pub use self::error::SqlStoreError;
#[cfg(feature = "mysql")]
pub use self::mysql::{MySqlStore, MySqlStoreBuilder};
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteStore, SqliteStoreBuilder, SqliteStoreError};
