//! What all requests of a store share, and how keys are read and written.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use scylla::statement::prepared::PreparedStatement;
use tower_revoke_core::{KeyDigest, UnixTime};

use crate::{
    client::{Client, Deadline, RowOwned},
    error::Failure,
    log::Log,
    queue::{SharedRead, TokenQueues},
    revocations::{Key, Order, Row},
    rows::UsesRow,
    statements::Statements,
};

/// The keys in one read, whose coordinator contacts the replicas of all of them.
const KEYS: usize = 16;

/// Concurrent requests of one call.
pub(crate) const AT_ONCE: usize = 64;

pub(crate) struct Inner {
    pub(crate) client: Arc<Client>,
    pub(crate) statements: Arc<Statements>,
    pub(crate) log: Log,
    /// Distinguishes the cursors of this store from those of others.
    pub(crate) id: [u8; 16],
    pub(crate) keyspace: String,
    pub(crate) feed_retention: Duration,
    pub(crate) queues: TokenQueues,
    /// When everything before it was purged.
    pub(crate) purged: SharedRead<Option<i64>>,
}

impl Inner {
    pub(crate) async fn apply(
        &self,
        deadline: Deadline,
        orders: &[(KeyDigest, Vec<Order>)],
    ) -> Result<bool, Failure> {
        let keys: Vec<_> = orders.iter().map(|(key, _)| *key).collect();
        let mut known: HashMap<_, _> = self.revoked(deadline, &keys).await?.into_iter().collect();
        let mut lifted = false;
        let mut writes = Vec::new();
        for (key, orders) in orders {
            let before = known.remove(key).unwrap_or_default();
            let mut after = before.clone();
            for order in orders {
                lifted |= after.apply(*key, order.clone());
            }
            let (new, old) = after.changes(&before, key);
            if !new.is_empty() || !old.is_empty() {
                writes.push((new, old));
            }
        }
        stream::iter(writes)
            .map(|(mut new, old)| async move {
                if old.is_empty()
                    && new.len() == 1
                    && let Some(new) = new.pop()
                {
                    self.client
                        .execute(deadline, &self.statements.insert_revocation, new)
                        .await?;
                    return Ok::<_, Failure>(());
                }
                let say = new
                    .into_iter()
                    .map(|new| (self.statements.insert_revocation.clone(), new));
                let delete = old
                    .into_iter()
                    .map(|old| (self.statements.delete_revocation.clone(), old));
                self.client
                    .execute_batch(deadline, say.chain(delete).collect())
                    .await?;
                Ok(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(lifted)
    }

    /// Reads the revocations and lifts of keys; keys without any are left out.
    pub(crate) async fn revoked(
        &self,
        deadline: Deadline,
        keys: &[KeyDigest],
    ) -> Result<Vec<(KeyDigest, Key)>, Failure> {
        by_key(
            self.of_keys(deadline, &self.statements.look_up_revoked, keys)
                .await?,
        )
    }

    /// Reads until when the uses of tokens are kept, if all are taken.
    pub(crate) async fn uses_of(
        &self,
        deadline: Deadline,
        keys: &[KeyDigest],
    ) -> Result<Vec<(KeyDigest, Option<Option<UnixTime>>)>, Failure> {
        let rows = self.of_keys(deadline, &self.statements.look_up_uses, keys);
        let rows: Vec<UsesRow> = rows.await?;
        let found = rows
            .iter()
            .map(|row| Ok((key_of(&row.digest)?, row.used_up())));
        let mut found: HashMap<_, _> = found.collect::<Result<_, Failure>>()?;
        let of_key = |key: &KeyDigest| (*key, found.remove(key).flatten());
        Ok(keys.iter().map(of_key).collect())
    }

    /// Reads the rows of keys, some keys at a time.
    async fn of_keys<R: RowOwned>(
        &self,
        deadline: Deadline,
        look_up: &PreparedStatement,
        keys: &[KeyDigest],
    ) -> Result<Vec<R>, Failure> {
        let some = |keys: &[KeyDigest]| {
            let keys: Vec<_> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
            self.client.rows(deadline, look_up, (keys,))
        };
        let rows: Vec<Vec<R>> = stream::iter(keys.chunks(KEYS))
            .map(some)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(rows.into_iter().flatten().collect())
    }
}

pub(crate) fn key_of(bytes: &[u8]) -> Result<KeyDigest, Failure> {
    let bytes = bytes.try_into().map_err(|_| Failure::Malformed("a key"))?;
    Ok(KeyDigest::from_bytes(bytes))
}

/// Merges rows that are grouped by key.
pub(crate) fn by_key(rows: Vec<Row>) -> Result<Vec<(KeyDigest, Key)>, Failure> {
    let mut keys: Vec<(KeyDigest, Vec<Row>)> = Vec::new();
    for row in rows {
        let key = key_of(&row.digest)?;
        match keys.last_mut() {
            Some((last, rows)) if *last == key => rows.push(row),
            _ => keys.push((key, vec![row])),
        }
    }
    Ok(keys
        .into_iter()
        .map(|(key, rows)| (key, Key::of(key, rows)))
        .collect())
}
