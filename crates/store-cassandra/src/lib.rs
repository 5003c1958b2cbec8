//! Revocations and uses of bearer tokens in Apache Cassandra (4.1 or newer; tested with 5.0), as a
//! [`Store`](tower_revoke_core::Store), by the [scylla](https://docs.rs/scylla) driver.
//!
//! ```no_run
//! use tower_revoke_list::RevocationList;
//! use tower_revoke_store_cassandra::CassandraStore;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = CassandraStore::builder(["cassandra-1.example.com", "cassandra-2.example.com"]);
//! // Once, from one place.
//! builder.migrate("{'class': 'NetworkTopologyStrategy', 'eu-west': 3}").await?;
//!
//! let list = RevocationList::over(builder.connect().await?);
//! # let _ = list;
//! # Ok(()) }
//! ```
//!
//! # What is promised
//!
//! * **A use has one winner** in the whole cluster: each is one write under a condition (`INSERT …
//!   IF NOT EXISTS` by Paxos at `SERIAL`), with its own use id in the row. Where nobody knows what
//!   became of it — a `WriteTimeout`, a connection that broke — the very same write is asked again
//!   under the same id until it is known, or the time is up and the answer is an error. "Not applied"
//!   with the own id in the row means that it won.
//! * **With `LOCAL_QUORUM` there is one winner in each data centre**, and a revocation is obeyed in
//!   the others when it was replicated. That has to be
//!   [said by name](CassandraStoreBuilder::consistency); there is no feed then.
//! * **Durable** means: a quorum of the replicas has it in its commit log. Whether that is on the disk
//!   is the servers' `commitlog_sync`: with `batch` or `group` what was acknowledged survives a crash
//!   of all machines at once; with `periodic`, which is Cassandra's default, all replicas of a key that
//!   crash together lose about the last ten seconds, while a quorum that survives loses nothing.
//! * **A backup that is played back loses what came after it**: revocations, and taken uses, which
//!   can then be taken a second time. Who follows the feed is told so
//!   ([`HistoryWentBack`](tower_revoke_core::StoreError::HistoryWentBack)), also when new history has
//!   grown past the loss: each entry carries a random mark.
//! * **No order depends on a clock.** What is said of a key is a row of its own, under an id that is
//!   used once; rows are merged when they are read, and never written over. A write can't lose against
//!   another, however far the clocks of servers and nodes are apart, and a replica that comes back with
//!   old rows changes nothing. Uses are written with conditions only, which Cassandra puts in order by
//!   itself. A server's clock that was far ahead and is set back by more than three hours (the
//!   `gc_grace_seconds` of the tables) can make a use that was returned look held; it never makes two
//!   winners.
//! * **Nothing expires by itself**: there is no TTL. Only [`purge`](tower_revoke_core::Store::purge)
//!   forgets, by the caller's clock.
//! * **In doubt is said to be in doubt.** A cluster that is down gives
//!   [`Unavailable`](tower_revoke_core::StoreError::Unavailable) at once, one that is frozen
//!   [`TimedOut`](tower_revoke_core::StoreError::TimedOut) after
//!   [`request_timeout`](CassandraStoreBuilder::request_timeout). Afterwards it goes on by itself. What was
//!   begun goes on to its end also where its caller has left. Two lifts of one key at the same time may
//!   both be told that there was something to lift.
//!
//! # How it works
//!
//! Every open store writes a log of its own (`log`), numbered, of the keys that it changes: an entry
//! is made beside the write that it tells of, and says up to which number all before it is done. Who
//! follows the feed reads the logs of all writers, looks up how the keys in them stand, and reads what
//! was not done yet again the next time. So the feed compares no clocks, and a change is told as what
//! state, never as something that was overtaken. What nobody knows the outcome of is told again after
//! five seconds and after a minute. A poll costs two small reads for each writer.
//!
//! A writer that has said nothing for a day is forgotten with its log by a
//! [`purge`](tower_revoke_core::Store::purge). A purge and a full load read all tables in pages. A purge
//! that forgets uses is announced a second before: uses look for announcements, at most four times a
//! second, so that none wins what was forgotten where a wall clock was set back.
//!
//! # The tables
//!
//! They stand in a keyspace of their own, `tower_revoke` unless
//! [another](CassandraStoreBuilder::keyspace) is named, and are made by
//! [`migrate`](CassandraStoreBuilder::migrate) only; [`connect`](CassandraStoreBuilder::connect)
//! rejects what is older or newer than this version. Tokens and claims are hashes; the keys of rules,
//! and who revoked and why, are readable there. The login needs `SELECT` and `MODIFY` on the keyspace;
//! to create it, `CREATE`.
//!
//! ScyllaDB speaks the same language, and is not tested. Keyspaces of it whose tables are spread as
//! tablets may reject conditional writes; what the server says is passed on.
//!
//! # Features
//!
//! | | |
//! |---|---|
//! | `tls` | on by default: TLS by rustls and aws-lc-rs |

mod builder;
mod client;
mod cursor;
mod error;
mod feed;
mod inner;
mod log;
mod queue;
mod records;
mod rows;
mod said;
mod scan;
mod schema;
mod statements;
mod store;
#[cfg(feature = "tls")]
mod tls;
mod uses;

pub use self::{builder::CassandraStoreBuilder, error::CassandraStoreError, store::CassandraStore};
