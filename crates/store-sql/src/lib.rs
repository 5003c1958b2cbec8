//! Revocations and uses of bearer tokens in a database that all nodes share, as a
//! [`Store`](tower_revoke_core::Store): PostgreSQL (13 or newer; tested with 15), by
//! [sqlx](https://docs.rs/sqlx).
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
//! * **A claim has one winner** among all nodes that use this schema of this primary: whoever
//!   writes takes an advisory lock first, and so sees all that was written before.
//! * **Durable** means: committed by the primary, with its write-ahead log flushed to the disk. Where
//!   `synchronous_commit` is `off`, it is switched on for each write of ours. It survives a crash of
//!   the server and of its machine, as long as the server runs with `fsync` on; without, the store
//!   opens and logs a warning. With `synchronous_standby_names` set, the standbys have it too.
//! * **A fail-over to a standby that was behind loses what that had not got yet**: revocations, and
//!   claimed uses, which can then be claimed a second time. A backup that is played back likewise.
//!   Who follows the feed is told so
//!   ([`HistoryWentBack`](tower_revoke_core::StoreError::HistoryWentBack)), also when new history has
//!   grown past the loss: each event carries a random mark of its transaction.
//!   Synchronous replication loses nothing.
//! * **Nothing expires by itself**: only [`purge`](tower_revoke_core::Store::purge) forgets, by the
//!   caller's clock. A step of the server's clock changes nothing.
//! * **In doubt is said to be in doubt.** When a connection breaks under a claim, a revocation or what
//!   is written back, it is asked again under the same id, over a new connection; a lift or a release
//!   is not, since the second answer would not be that of the first. A server that is down gives
//!   [`Unavailable`](tower_revoke_core::StoreError::Unavailable) at once, one that is frozen
//!   [`TimedOut`](tower_revoke_core::StoreError::TimedOut) after
//!   [`answer_within`](PostgresStoreBuilder::answer_within). Afterwards it goes on by itself.
//!
//! # How it works
//!
//! What callers of one node write at the same time goes to the server as one call of a function of
//! the schema, and is one transaction with one flush: the more callers, the cheaper each. The lock is
//! taken and given back inside of that call, so that a node that stops holds up nobody. The feed is
//! numbered under the same lock: its numbers are committed in their order, and none is ever missed.
//! `NOTIFY` wakes who waits for [`changed`](tower_revoke_core::Store::changed).
//!
//! Give it the primary's address. A pooler in front of the server must keep sessions
//! (`pool_mode = session` of PgBouncer): statements are prepared, and settings belong to a session.
//!
//! # The schema
//!
//! Tables and functions stand in a schema of their own, `tower_revoke` unless
//! [another](PostgresStoreBuilder::schema) is named. [`connect`](PostgresStoreBuilder::connect)
//! creates it, or brings it to this version's state, unless
//! [`migrates(false)`](PostgresStoreBuilder::migrates) is said; then
//! [`migrate`](PostgresStoreBuilder::migrate) is called by somebody who may. A schema that is newer
//! than this version is refused. Tokens and claims are hashes; the keys of rules, and who revoked and
//! why, are readable there.
//!
//! The login needs `USAGE` on the schema, `SELECT`, `INSERT`, `UPDATE` and `DELETE` on its tables, and
//! `EXECUTE` on its functions; to create it, `CREATE` on the database.
//!
//! # Features
//!
//! | | |
//! |---|---|
//! | `postgres` | `PostgresStore` |
//! | `tls` | TLS by rustls and aws-lc-rs, as the address says (`sslmode=verify-full`, `sslrootcert`) |

#![cfg(any(feature = "mysql", feature = "postgres"))]

mod backend;
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
#[cfg(any(test, feature = "mysql"))]
mod rules;
mod settings;
mod store;
mod value;

pub use self::error::ConnectError;
#[cfg(feature = "mysql")]
pub use self::mysql::{MySqlStore, MySqlStoreBuilder};
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresStore, PostgresStoreBuilder};
