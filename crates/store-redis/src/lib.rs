//! Keeps revocations, uses and issued tokens in Redis 6.2 or newer, or in Valkey: a
//! [`Store`](tower_revoke_core::Store) on one server, on a primary that Sentinel watches, or on a
//! cluster.
//!
//! # Examples
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
//! let list = RevocationList::new(store);
//! # let _ = list;
//! # Ok(()) }
//! ```
//!
//! # Guarantees
//!
//! * **A use has one winner on one primary**; in a cluster, on the master of the token's slot. Each
//!   take, return, revocation and lift is one script that also writes the feed: all of it happens, or
//!   nothing. Uses that wait for the server go to it together; a batch of first uses of single-use
//!   tokens costs one command of each kind.
//! * **A token is issued once**, by one command on the server of its hash. In a cluster it is listed
//!   under its subject and its grant by others, before it is acknowledged.
//! * **A write is durable when the server says so.** With `appendonly yes` and `appendfsync always`,
//!   an acknowledged write survives a crash of the server and of its machine. With `everysec`, a
//!   crash of the machine loses about the last second. Without AOF, a restart loses everything since
//!   the last snapshot; the store opens, and logs a warning.
//! * **A fail-over may lose what the replica had not received**, since Redis acknowledges a write
//!   before it is replicated: revocations of that moment are gone, and a use that was taken then can
//!   be taken again. With [`wait_for_replicas`](RedisStoreBuilder::wait_for_replicas) a write is
//!   acknowledged only when that many replicas have it. It is then lost only if all of them are, or
//!   if a replica that lags is promoted, which Sentinel and Cluster avoid but don't rule out. A
//!   primary that is partitioned and doesn't know it accepts writes that will be lost;
//!   `min-replicas-to-write` on the servers bounds for how long.
//! * **An answer is fresh only from a server that takes writes.** Look-ups and the feed fail on a
//!   server that has become a replica, or that has fewer replicas than `min-replicas-to-write`, so a
//!   node on the wrong side of a partition rejects requests once its `max_staleness` has passed.
//!   Without that setting, a primary that is partitioned goes on answering, and a node on its side
//!   hears nothing new until the partition ends.
//! * **Lost history is detected.** Each entry of the feed has a random stamp, and a cursor holds that
//!   of the last entry it has seen. If the server doesn't have that entry, the feed answers
//!   [`HistoryWentBack`](tower_revoke_core::StoreError::HistoryWentBack), even if new entries have
//!   been written since. Once those have been trimmed it answers
//!   [`CursorTooOld`](tower_revoke_core::StoreError::CursorTooOld).
//! * **Nothing is evicted, and nothing expires by itself.** The store opens only if
//!   `maxmemory-policy` is `noeviction` or one of `volatile-…`, which spare keys without a time to
//!   live, as all of ours are. Only [`purge`](tower_revoke_core::Store::purge) removes entries, by
//!   the caller's clock. A server whose memory is full rejects writes
//!   ([`Full`](tower_revoke_core::StoreError::Full)), and can still be purged.
//! * **A step of the server's clock revives nothing.** That clock only decides which changes leave
//!   the feed: after a step forward nodes load everything again, and after a step back the feed grows
//!   until the clock has caught up.
//! * **The store recovers by itself.** Connections are made anew; Sentinel is asked for the primary
//!   at each of them, and a cluster for the owners of its slots after each failure. A server that is
//!   down causes an error at once, one that hangs after
//!   [`request_timeout`](RedisStoreBuilder::request_timeout).
//!
//! # What is stored
//!
//! Hashes, sorted sets by expiry and a stream, under one hash tag `{prefix:number}`; a cluster has 16
//! tags, chosen by the first byte of the key. Tokens and uses are stored as hashes; the keys of
//! rules, who revoked or lifted and why, and what issued tokens mean (as JSON) are readable. A load reads the sorted sets and never scans the
//! keyspace, and writes nothing. New uses are in the stream first; after some hundreds of them, and
//! before a purge, they are added to their sorted set, where uses that expire together share a member.
//!
//! All keys of a tag are in one slot, so migrating that slot moves a large value at once. Meanwhile
//! writes, loads and the feed of that tag may be rejected: migrate slots when there is little load.
//!
//! # Connections
//!
//! One connection to each server carries all requests, and a second one the writes that wait for
//! replicas. Once [`changed`](tower_revoke_core::ChangeFeed::changed) is used, one more for each tag
//! blocks on its stream (`XREAD BLOCK`).

mod address;
mod builder;
mod client;
mod connection;
mod connector;
mod cursor;
mod error;
mod feed;
mod inner;
mod issued;
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
