//! What all requests of a store share.

use std::sync::Arc;

use futures_util::future::join_all;
use redis::{Cmd, Value, cmd};
use tower_revoke_core::{KeyDigest, StoreError};

use crate::{
    client::{Client, Request},
    error::{Failure, RedisStoreError},
    queue::UseQueue,
    scripts::{Keys, tag_of},
    value::{bytes, list, number, text},
    watch::Watch,
};

/// After about so many entries a script trims the feed, and indexes the uses in it.
const TRIMMED_ONCE_IN: usize = 512;

pub(crate) struct Inner {
    pub(crate) client: Arc<Client>,
    pub(crate) keys: Vec<Keys>,
    pub(crate) uses: Vec<UseQueue>,
    /// Distinguishes the cursors of this store from those of others.
    pub(crate) id: [u8; 16],
    pub(crate) watch: Watch,
    pub(crate) feeds: Vec<String>,
    /// How scripts trim the feed of a tag: its retention in milliseconds, and its capacity.
    pub(crate) keep: String,
}

impl Inner {
    pub(crate) fn tag(&self, key: &KeyDigest) -> usize {
        tag_of(key.as_bytes()[0], self.keys.len())
    }

    /// Returns how to trim the feed, if a write of so many entries shall trim it.
    pub(crate) fn trims(&self, entries: usize) -> Option<&str> {
        (fastrand::usize(..TRIMMED_ONCE_IN) < entries).then_some(&*self.keep)
    }

    /// Adds how the feed is trimmed, and a random stamp for its new entry.
    pub(crate) fn stamped<'a>(&self, call: &'a mut Cmd, trims: Option<&str>) -> &'a mut Cmd {
        let stamp = fastrand::u64(..).to_be_bytes();
        call.arg(trims.unwrap_or_default()).arg(&stamp[..])
    }

    /// Checks the layout of the keys, and returns the id of the store.
    pub(crate) async fn open(
        client: &Client,
        keys: &Keys,
        layout: &str,
    ) -> Result<[u8; 16], RedisStoreError> {
        let new = fastrand::u128(..).to_be_bytes();
        let set = |field: &str, value: &[u8]| {
            let mut set = cmd("HSETNX");
            set.arg(&keys.meta).arg(field).arg(value);
            set
        };
        let mut get = cmd("HMGET");
        get.arg(&keys.meta).arg("layout").arg("id");
        let mut answer = Value::Nil;
        for command in [set("layout", layout.as_bytes()), set("id", &new), get] {
            answer = match client.ask(0, &Request::read(command)).await {
                Ok(answer) => answer,
                Err(Failure::Unavailable(error)) => return Err(error),
                Err(Failure::TimedOut(_) | Failure::Full) => {
                    return Err(RedisStoreError::Setting("the server takes no writes"));
                }
            };
        }
        let [found, id] = list(&answer) else {
            return Err(RedisStoreError::Malformed("the layout"));
        };
        if bytes(found) != layout.as_bytes() {
            return Err(RedisStoreError::OtherLayout {
                found: text(found),
                wanted: layout.to_owned(),
            });
        }
        let id = bytes(id).try_into();
        id.map_err(|_| RedisStoreError::Malformed("the id of the store"))
    }

    pub(crate) async fn or_error<T>(&self, result: Result<T, Failure>) -> Result<T, StoreError> {
        match result {
            Ok(value) => Ok(value),
            Err(failure) => Err(Box::pin(self.error(failure)).await),
        }
    }

    /// Turns a failure into the store's error. A full server still tells how much it holds.
    pub(crate) async fn error(&self, failure: Failure) -> StoreError {
        if !matches!(failure, Failure::Full) {
            return failure.into();
        }
        let counted = self.keys.iter().enumerate().map(|(tag, keys)| {
            let ask = |name: &str, hash: &str| {
                let mut ask = cmd(name);
                ask.arg(hash);
                ask
            };
            let mut purged = ask("HEXISTS", &keys.uses);
            purged.arg("purged");
            let counts = [
                ask("HLEN", &keys.listed),
                ask("HLEN", &keys.uses),
                ask("HLEN", &keys.issued),
                purged,
            ];
            self.client.each(tag, counts)
        });
        let counted = join_all(counted).await;
        let counted = counted.iter().flatten().filter_map(|counts| {
            let [listed, uses, issued, purged] = counts.as_slice() else {
                return None;
            };
            let all = number(listed)? + number(uses)? + number(issued)?;
            // Counted one after the other.
            Some(all.saturating_sub(number(purged)?))
        });
        StoreError::Full(counted.sum())
    }
}
