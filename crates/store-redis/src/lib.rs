//! Revocations and uses of bearer tokens in Redis (6.2 or newer, or Valkey), as a
//! [`Store`](tower_revoke_core::Store) for tower-revoke.

mod address;
mod ask;
mod builder;
mod claims;
mod dial;
mod error;
mod feed;
mod link;
mod records;
mod route;
mod scripts;
mod store;
#[cfg(feature = "tls")]
mod tls;
mod value;
mod watch;
mod wire;

pub use self::{builder::RedisStoreBuilder, error::RedisStoreError, store::RedisStore};
