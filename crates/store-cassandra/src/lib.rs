//! Keeps revocations, uses and issued tokens in Apache Cassandra 4.1 or newer (tested with 5.0): a
//! [`Store`](tower_revoke_core::Store) on the [scylla](https://docs.rs/scylla) driver.
//!
//! # Examples
//! ```no_run
//! use tower_revoke_list::RevocationList;
//! use tower_revoke_store_cassandra::CassandraStore;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let nodes = ["cassandra-1.example.com", "cassandra-2.example.com"];
//! // Once, from one place.
//! let builder = CassandraStore::builder(nodes);
//! builder.migrate("{'class': 'NetworkTopologyStrategy', 'eu-west': 3}").await?;
//!
//! let list = RevocationList::new(CassandraStore::connect(nodes).await?);
//! # let _ = list;
//! # Ok(()) }
//! ```
//!
//! # Guarantees
//!
//! * **A use has one winner** in the whole cluster: it is one conditional write (`INSERT … IF NOT
//!   EXISTS` by Paxos at `SERIAL`) whose row holds the use id. If the outcome is unknown, after a
//!   `WriteTimeout` or a broken connection, the same write is repeated under the same id until its
//!   outcome is known or the timeout has passed, which is an error. "Not applied" with the own id in
//!   the row means that the use was taken.
//! * **A token is issued once**, by a conditional write that is repeated and recognized alike. It is
//!   listed under its subject and its grant before it is acknowledged.
//! * **With `LOCAL_QUORUM` each data centre has a winner of its own**, and a revocation is obeyed in
//!   the others once it was replicated. This must be
//!   [asked for by name](CassandraStoreBuilder::consistency); such a store has no feed.
//! * **Durable** means that a quorum of the replicas has a write in its commit log. The servers'
//!   `commitlog_sync` decides whether that is on the disk: with `batch` or `group` an acknowledged
//!   write survives a crash of all machines at once; with `periodic`, the default of Cassandra, it
//!   may be lost if all replicas of a key crash together within about ten seconds. A quorum that
//!   survives loses nothing.
//! * **A restored backup lacks what came after it**: revocations, and taken uses, which can then be
//!   taken again. The feed detects this
//!   ([`HistoryWentBack`](tower_revoke_core::StoreError::HistoryWentBack)), even if new entries have
//!   been written since, because each entry has a random mark.
//! * **No order depends on a clock.** Each revocation and each lift of a key is a row of its own,
//!   under an id that is used once. Rows are merged when they are read, and never overwritten, so no
//!   write can lose against another, however far the clocks of servers and nodes are apart, and a
//!   replica that returns with old rows changes nothing. Uses are written by conditional writes
//!   only, which Cassandra orders itself. If a server's clock was ahead and is set back by more than
//!   three hours (the `gc_grace_seconds` of the tables), a returned use can look taken; there are
//!   never two winners.
//! * **No entry expires by itself**: none has a TTL. Only
//!   [`purge`](tower_revoke_core::Store::purge) removes entries, by the caller's clock.
//! * **Ambiguous outcomes are reported as such.** A cluster that is down causes
//!   [`Unavailable`](tower_revoke_core::StoreError::Unavailable) at once, one that hangs
//!   [`TimedOut`](tower_revoke_core::StoreError::TimedOut) after
//!   [`request_timeout`](CassandraStoreBuilder::request_timeout); the store recovers by itself. A
//!   write that has begun is completed even if its caller has left. Two concurrent lifts of one key
//!   may both report that there was a revocation.
//!
//! # How the feed works
//!
//! Each open store writes a log of its own: numbered entries with the keys that it changes. An entry
//! is written beside the write that it announces, not after it, and states up to which number all
//! earlier writes are complete. A follower reads the logs of all writers, looks up the current state
//! of the keys, and reads entries that were not complete again the next time. So the feed compares
//! no clocks, and reports what is in force, never what was overtaken. A write with an unknown outcome
//! is announced again after five seconds and after a minute. A poll costs two small reads per writer.
//!
//! A log is a row of partitions with some hundreds of entries each, which are deleted as a whole:
//! once they are older than the [`feed_retention`](CassandraStoreBuilder::feed_retention), or hold
//! more than the [`feed_capacity`](CassandraStoreBuilder::feed_capacity). A full load reads all
//! tables, page by page, while it follows the feed, so it doesn't depend on how much is kept.
//!
//! # How entries are purged
//!
//! A [`purge`](tower_revoke_core::Store::purge) reads all tables in 64 ranges of tokens, eight at a
//! time. One node purges at a time: it holds a lease of a minute, which it renews. Until the lease
//! ends, a purge through another node returns 0 at once and leaves the rest to the next one. A purge
//! that removes uses announces itself a second before: taking a use checks for announcements, at most
//! four times a second, so that no purged use is taken again after a wall clock was set back. A purge
//! also removes the log of a writer that has been silent for a day.
//!
//! # The tables
//!
//! The tables are in a keyspace of their own, `tower_revoke` unless
//! [another](CassandraStoreBuilder::keyspace) is set, and are created only by
//! [`migrate`](CassandraStoreBuilder::migrate); [`connect`](CassandraStoreBuilder::connect) rejects
//! tables of another version. Tokens and uses are stored as hashes; the keys of rules, who
//! revoked and why, and what issued tokens mean (as JSON) are readable. The login needs `SELECT` and `MODIFY` on the keyspace, and `CREATE`
//! for the migration.
//!
//! ScyllaDB has the same protocol, and is not tested. It may reject conditional writes in keyspaces
//! that use tablets; the server's error is passed on.
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `tls` | on | TLS by rustls and aws-lc-rs |

mod buckets;
mod builder;
mod client;
mod cursor;
mod error;
mod feed;
mod inner;
mod issued;
mod log;
mod purge;
mod queue;
mod records;
mod revocations;
mod rows;
mod scan;
mod schema;
mod statements;
mod store;
#[cfg(feature = "tls")]
mod tls;
mod uses;

pub use self::{builder::CassandraStoreBuilder, error::CassandraStoreError, store::CassandraStore};
