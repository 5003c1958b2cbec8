//! What all requests of a store share, and how keys are read and written.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use tower_revoke_core::{Clock, KeyDigest, Listed};

use crate::{
    error::Failure,
    link::{Deadline, Link},
    log::Log,
    rows::{Uses, spent},
    said::{Key, Order, Row},
    statements::Statements,
    turns::{Shared, Turns},
};

/// Keys in one question; the cluster asks all their replicas.
const KEYS: usize = 16;

/// Questions at the same time for one call.
pub(crate) const AT_ONCE: usize = 64;

pub(crate) struct Inner {
    pub(crate) link: Arc<Link>,
    pub(crate) statements: Arc<Statements>,
    pub(crate) log: Log,
    /// Tells the cursors of this store from those of any other.
    pub(crate) id: [u8; 16],
    pub(crate) keyspace: String,
    pub(crate) clock: Clock,
    pub(crate) keep: Duration,
    pub(crate) turns: Turns<Uses>,
    /// When everything before it was purged.
    pub(crate) purged: Shared<Option<i64>>,
}

impl Inner {
    pub(crate) async fn say(
        &self,
        deadline: Deadline,
        orders: &[(KeyDigest, Vec<Order>)],
    ) -> Result<bool, Failure> {
        let keys: Vec<_> = orders.iter().map(|(key, _)| *key).collect();
        let mut known: HashMap<_, _> = self.said(deadline, &keys).await?.into_iter().collect();
        let mut lifted = false;
        let mut writes = Vec::new();
        for (key, orders) in orders {
            let before = known.remove(key).unwrap_or_default();
            let mut after = before.clone();
            for order in orders {
                lifted |= after.apply(order.clone());
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
                    self.link.ask(deadline, &self.statements.say, new).await?;
                    return Ok::<_, Failure>(());
                }
                let say = new
                    .into_iter()
                    .map(|new| (self.statements.say.clone(), new));
                let unsay = old
                    .into_iter()
                    .map(|old| (self.statements.unsay.clone(), old));
                self.link
                    .ask_all(deadline, say.chain(unsay).collect())
                    .await?;
                Ok(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(lifted)
    }

    /// What was said of each of these keys of which anything was.
    pub(crate) async fn said(
        &self,
        deadline: Deadline,
        keys: &[KeyDigest],
    ) -> Result<Vec<(KeyDigest, Key)>, Failure> {
        let rows: Vec<Vec<Row>> = stream::iter(chunks(keys))
            .map(|keys| async move {
                let rows = self
                    .link
                    .rows(deadline, &self.statements.look_up_said, (keys,));
                rows.await
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        by_key(rows.into_iter().flatten().collect())
    }

    /// How the uses of each of these tokens stand.
    pub(crate) async fn used(
        &self,
        deadline: Deadline,
        keys: &[KeyDigest],
    ) -> Result<Vec<(KeyDigest, Option<Listed>)>, Failure> {
        type Found = (Vec<u8>, Option<i64>, Option<i64>, Option<i64>);
        let rows: Vec<Vec<Found>> = stream::iter(chunks(keys))
            .map(|keys| async move {
                let rows = self
                    .link
                    .rows(deadline, &self.statements.look_up_uses, (keys,));
                rows.await
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let found = rows
            .into_iter()
            .flatten()
            .map(|(token, max_uses, held, until)| {
                Ok((key_of(&token)?, spent(max_uses, held, until)))
            });
        let mut found: HashMap<_, _> = found.collect::<Result<_, Failure>>()?;
        Ok(keys
            .iter()
            .map(|key| (*key, found.remove(key).flatten()))
            .collect())
    }
}

fn chunks(keys: &[KeyDigest]) -> Vec<Vec<Vec<u8>>> {
    let chunk = |keys: &[KeyDigest]| keys.iter().map(|key| key.as_bytes().to_vec()).collect();
    keys.chunks(KEYS).map(chunk).collect()
}

pub(crate) fn key_of(bytes: &[u8]) -> Result<KeyDigest, Failure> {
    let bytes = bytes.try_into().map_err(|_| Failure::Garbled("a key"))?;
    Ok(KeyDigest::from_bytes(bytes))
}

/// Rows that stand together in the order of their keys.
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
        .map(|(key, rows)| (key, Key::of(rows)))
        .collect())
}
