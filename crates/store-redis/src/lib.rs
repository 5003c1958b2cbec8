//! Revocations and uses of bearer tokens in Redis 6.2 or newer (or Valkey), as a
//! [`Store`](tower_revoke_core::Store): one server, a primary that Sentinel watches, or a cluster.
//!
//! ```no_run
//! use std::time::Duration;
//! use tower_revoke_list::RevocationList;
//! use tower_revoke_store_redis::RedisStore;
//!
//! # async fn run(password: String) -> Result<(), Box<dyn std::error::Error>> {
//! let store = RedisStore::connect("redis://127.0.0.1:6379").await?;
//!
//! let store = RedisStore::sentinel("primary", ["rediss://sentinel-1", "rediss://sentinel-2"])
//!     .credentials("orders", password)
//!     .wait_for_replicas(1, Duration::from_millis(500))
//!     .connect()
//!     .await?;
//!
//! let list = RevocationList::over(store);
//! # let _ = list;
//! # Ok(()) }
//! ```
//!
//! # What is promised
//!
//! * **A use has one winner on one primary** (of a cluster: on the master of the token's slot).
//!   Each use, revocation, lift and release is one script, with its event in the feed: all of it
//!   happens, or nothing. Claims that wait for the server go to it together; where all of them are
//!   the first of a single use, they cost it one command of each kind.
//! * **Durable is what the server calls so.** With `appendonly yes` and `appendfsync always`, what
//!   was acknowledged survives a crash of the server and of its machine. With `everysec` a crash of
//!   the machine loses about the last second. Without AOF a restart loses everything since the last
//!   snapshot: the store opens, and logs a warning.
//! * **A fail-over may lose what the replica had not got yet**: Redis replicates after it has
//!   answered. Revocations from that moment are gone, and a use that was taken in it can be
//!   taken a second time. [`wait_for_replicas`](RedisStoreBuilder::wait_for_replicas) answers only
//!   when so many replicas have a write; then a loss takes all of them at once, or a fail-over to a
//!   replica that is behind, which Sentinel and Cluster avoid but do not rule out. A primary that is
//!   cut off and does not know it takes writes that will be lost; `min-replicas-to-write` on the
//!   servers bounds for how long. Who was cut off with it and only reads hears nothing new until it
//!   is back; who writes is rejected, and asks who the primary is now.
//! * **What was lost is noticed.** Every entry of the feed has a random stamp, and a cursor carries
//!   that of the last entry it has seen. If the server does not know it,
//!   [`HistoryWentBack`](tower_revoke_core::StoreError::HistoryWentBack) is the answer, also when new
//!   history has grown past it, until that has left the feed; then it is
//!   [`CursorTooOld`](tower_revoke_core::StoreError::CursorTooOld).
//! * **Nothing is evicted, and nothing expires by itself.** The store opens only where
//!   `maxmemory-policy` is `noeviction`, or a `volatile-…` policy, since no key of ours has a time to
//!   live: only [`purge`](tower_revoke_core::Store::purge) forgets, and it does so by the caller's
//!   clock. A server whose memory is full rejects ([`Full`](tower_revoke_core::StoreError::Full)),
//!   and can still be purged.
//! * **A step of the server's clock revives nothing.** The server's clock only says which changes
//!   are so old that they leave the feed: a step forward makes nodes load all again, and after a step
//!   back the feed grows until the clock is where it was.
//! * **It recovers without being opened again**: connections are made anew, Sentinel is asked who
//!   the primary is at every one of them, and a cluster who serves a slot whenever something fails.
//!   A server that is down gives an error at once, one that is frozen after
//!   [`request_timeout`](RedisStoreBuilder::request_timeout).
//!
//! # What is kept where
//!
//! Hashes, sorted sets by end and a stream, all under one hash tag `{prefix:number}`: 16 tags
//! in a cluster, by the first byte of the key, and one elsewhere. Tokens and uses are hashes; the
//! keys of rules, and who revoked and why, are readable. A load reads the sorted sets and never scans
//! the keys of others. New uses stand in the stream first; after some hundreds of them, by a load
//! and by a purge they come into their sorted set, in which those that end together share a member.
//! Since all of a tag is one slot, moving that slot to another master moves a large value at once, and
//! as long as it goes on, writes, loads and the feed of that tag may be rejected: do it when little is
//! asked.
//!
//! # Connections
//!
//! One to each server for all requests, and one more where writes wait for replicas. As soon as
//! somebody waits for [`changed`](tower_revoke_core::Store::changed), one for each tag, which blocks
//! on its stream (`XREAD BLOCK`).

mod address;
mod builder;
mod client;
mod connection;
mod connector;
mod cursor;
mod error;
mod feed;
mod inner;
mod queue;
mod records;
mod scripts;
mod servers;
mod store;
#[cfg(feature = "tls")]
mod tls;
mod uses;
mod value;
mod watch;
mod wire;

pub use self::{builder::RedisStoreBuilder, error::RedisStoreError, store::RedisStore};
