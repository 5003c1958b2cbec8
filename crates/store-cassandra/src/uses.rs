//! Takes and returns uses. A token's uses are one partition, changed only by conditional writes.

use std::time::Duration;

use scylla::{
    response::query_result::QueryResult,
    statement::prepared::PreparedStatement,
    value::{CqlValue, Row},
};
use tokio::time::Instant;
use tower_revoke_core::{
    KeyDigest, StoreError, TokenId, Use, UseOutcome, internal::signed_time::end,
};

use crate::{
    client::{Deadline, was_applied},
    error::Failure,
    inner::Inner,
    log::Table,
    queue::Reading,
    revocations::later,
    rows::Uses,
    statements::Statements,
};

/// Rows of uses that one write deletes.
const HELD_AT_ONCE: usize = 500;

/// The time between the announcement of a purge and the first use that it deletes. Taking a use has
/// read the announcements no longer ago than half of it by the time it is done.
pub(crate) const NOTICE: Duration = Duration::from_secs(1);

/// The outcome of inserting a new use, and the row that was in its way.
#[derive(Debug, Default)]
struct NewUse {
    applied: bool,
    max_uses: Option<i64>,
    holder: Option<Vec<u8>>,
    until: Option<i64>,
}

/// When everything before it was purged.
type Purged = Reading<Option<i64>>;

fn blob(bytes: &[u8; 16]) -> Option<CqlValue> {
    Some(CqlValue::Blob(bytes.to_vec()))
}

/// The uses of a token, from the view of one use.
struct UseState {
    uses: Uses,
    is_held: bool,
}

impl UseState {
    fn is_spent(&self, use_: &Use) -> bool {
        !self.is_held && self.uses.are_all_held(use_)
    }
}

impl Inner {
    /// Takes a use.
    pub(crate) async fn take_use(&self, use_: &Use) -> Result<UseOutcome, StoreError> {
        let (began, deadline) = (Instant::now(), self.client.deadline());
        let queue = self.queues.of(use_.token);
        let (_lock, seen) = match queue.lock.try_lock() {
            Ok(lock) => (Some(lock), None),
            Err(_) => {
                let lock = deadline.bound(queue.lock.lock()).await?;
                // A read is much cheaper than a conditional write, and all waiters share it.
                let read = self.read(deadline, &self.statements.uses, use_.token);
                let seen = deadline.bound(queue.seen.since(began, read)).await??.value;
                // If none are left, finding out whether this one is taken needs no lock.
                let lock = Some(lock).filter(|_| !seen.are_all_held(use_));
                let state = self.state(deadline, use_, seen).await?;
                if state.is_spent(use_) {
                    return Ok(UseOutcome::Spent);
                }
                (lock, Some(state))
            }
        };
        let taken = async {
            match seen {
                None if use_.limit.get() == 1 => self.take_the_only(deadline, use_).await,
                seen => self.take(deadline, use_, seen).await,
            }
        };
        let write = async {
            let Some(until) = end(use_.until) else {
                return taken.await;
            };
            let not_long_ago = began.checked_sub(NOTICE / 4).unwrap_or(began);
            let (taken, purged) = tokio::join!(taken, self.purged(deadline, not_long_ago));
            let taken = taken?;
            if let UseOutcome::Taken { .. } = taken {
                self.sure_of_its_life(deadline, use_, until, purged?)
                    .await?;
            }
            Ok(taken)
        };
        let keys = vec![(Table::Uses, KeyDigest::of_token(use_.token))];
        self.log
            .logged(keys, deadline, write, Result::is_err)
            .await?
    }

    /// Takes the use of a single-use token, which most likely is free.
    async fn take_the_only(
        &self,
        deadline: Deadline,
        use_: &Use,
    ) -> Result<UseOutcome, StoreError> {
        let until = end(use_.until);
        let values = (
            use_.token.as_bytes().as_slice(),
            1_i64,
            use_.id.as_bytes().as_slice(),
            fastrand::i64(..),
            until,
        );
        let take_new = &self.statements.take_new;
        let found: NewUse = first(self.client.execute(deadline, take_new, values).await?)?;
        let is_mine = found.holder.as_deref() == Some(use_.id.as_bytes().as_slice());
        if found.max_uses == Some(1) && found.holder.is_some() && !is_mine {
            return Ok(UseOutcome::Spent);
        }
        // Also if an earlier attempt had an unknown outcome.
        let stands_as_asked = is_mine && later(found.until, until) == found.until;
        if found.applied || (found.max_uses == Some(1) && stands_as_asked) {
            return Ok(UseOutcome::Taken { left: 0 });
        }
        self.take(deadline, use_, None).await
    }

    /// Takes one of the uses that are left, starting from the state that was read.
    async fn take(
        &self,
        deadline: Deadline,
        use_: &Use,
        mut seen: Option<UseState>,
    ) -> Result<UseOutcome, StoreError> {
        let limit = i64::from(use_.limit.get());
        loop {
            let state = match seen.take() {
                Some(state) => state,
                None => {
                    let uses = &self.statements.uses;
                    let uses = self.read(deadline, uses, use_.token).await?;
                    self.state(deadline, use_, uses).await?
                }
            };
            if state.is_spent(use_) {
                return Ok(UseOutcome::Spent);
            }
            let UseState { uses, is_held } = state;
            let held = uses.held.unwrap_or(0) + i64::from(!is_held);
            let until = match uses.max_uses {
                Some(_) => later(uses.until, end(use_.until)),
                None => end(use_.until),
            };
            if (is_held && until == uses.until)
                || self
                    .change(deadline, use_, &uses, held, until, true)
                    .await?
            {
                let left = u32::try_from(limit - held).unwrap_or(0);
                return Ok(UseOutcome::Taken { left });
            }
        }
    }

    async fn state(
        &self,
        deadline: Deadline,
        use_: &Use,
        uses: Uses,
    ) -> Result<UseState, StoreError> {
        let asked = use_.limit.get();
        if let Some(stored) = uses.max_uses
            && stored != i64::from(asked)
        {
            let stored = u32::try_from(stored).unwrap_or(u32::MAX);
            return Err(StoreError::LimitMismatch { stored, asked });
        }
        let held = &self.statements.held;
        let is_held = self.is_held(deadline, held, use_, &uses).await?;
        Ok(UseState { uses, is_held })
    }

    /// Returns a use.
    pub(crate) async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        let deadline = self.client.deadline();
        let queue = self.queues.of(use_.token);
        let _lock = deadline.bound(queue.lock.lock()).await?;
        let keys = vec![(Table::Uses, KeyDigest::of_token(use_.token))];
        let write = self.return_held(deadline, use_);
        let returned = self
            .log
            .logged(keys, deadline, write, Result::is_err)
            .await?;
        Ok(returned?)
    }

    async fn return_held(&self, deadline: Deadline, use_: &Use) -> Result<bool, Failure> {
        let Statements {
            uses_now, held_now, ..
        } = &*self.statements;
        loop {
            // Completes unfinished writes of others, and of this use, first.
            let uses = self.read(deadline, uses_now, use_.token).await?;
            if !self.is_held(deadline, held_now, use_, &uses).await? {
                return Ok(false);
            }
            let held = uses.held.unwrap_or(1) - 1;
            let change = self.change(deadline, use_, &uses, held, uses.until, false);
            if change.await? {
                return Ok(true);
            }
        }
    }

    /// Deletes all uses of a token unless they have changed since they were read.
    pub(crate) async fn forget(
        &self,
        token: &[u8],
        mut version: Option<i64>,
        max_uses: Option<i64>,
    ) -> Result<bool, Failure> {
        let token = CqlValue::Blob(token.to_vec());
        loop {
            let deadline = self.client.deadline();
            let held: Vec<(Option<Vec<u8>>,)> = if max_uses == Some(1) {
                Vec::new()
            } else {
                let values = (token.clone(), HELD_AT_ONCE as i32);
                self.client
                    .rows(deadline, &self.statements.all_held, values)
                    .await?
            };
            // The token goes with the last of its uses: without it no purge would find them.
            let is_last = held.len() < HELD_AT_ONCE;
            let known = [Some(token.clone()), version.map(CqlValue::BigInt)];
            let mut writes = if is_last {
                vec![(self.statements.forget_uses.clone(), known.to_vec())]
            } else {
                version = Some(fastrand::i64(..));
                let new = version.map(CqlValue::BigInt);
                let values = std::iter::once(new).chain(known).collect();
                vec![(self.statements.touch_uses.clone(), values)]
            };
            for use_ in held.into_iter().filter_map(|(use_,)| use_) {
                let values = vec![Some(token.clone()), Some(CqlValue::Blob(use_))];
                writes.push((self.statements.delete_use.clone(), values));
            }
            let applied = was_applied(self.client.execute_batch(deadline, writes).await?)?;
            if is_last || !applied {
                return Ok(applied);
            }
        }
    }

    /// Returns the latest announced purge.
    async fn purged(&self, deadline: Deadline, since: Instant) -> Result<Purged, Failure> {
        let ask = async {
            let purged_before = &self.statements.purged_before;
            let rows: Vec<(Option<i64>,)> = self.client.rows(deadline, purged_before, ()).await?;
            Ok(rows.first().and_then(|(purged,)| *purged))
        };
        deadline.bound(self.purged.since(since, ask)).await?
    }

    /// Returns a use that was taken although it was purged: a wall clock may have been set back
    /// since. See [`NOTICE`].
    async fn sure_of_its_life(
        &self,
        deadline: Deadline,
        use_: &Use,
        until: i64,
        mut purged: Purged,
    ) -> Result<(), StoreError> {
        if purged.asked.elapsed() > NOTICE / 2 {
            purged = self.purged(deadline, Instant::now()).await?;
        }
        if purged.value.is_none_or(|purged| purged <= until) {
            return Ok(());
        }
        self.return_held(deadline, use_).await?;
        Err(StoreError::Expired)
    }

    async fn read(
        &self,
        deadline: Deadline,
        statement: &PreparedStatement,
        token: TokenId,
    ) -> Result<Uses, Failure> {
        let token = token.as_bytes().as_slice();
        let rows: Vec<Uses> = self.client.rows(deadline, statement, (token,)).await?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    async fn is_held(
        &self,
        deadline: Deadline,
        statement: &PreparedStatement,
        use_: &Use,
        uses: &Uses,
    ) -> Result<bool, Failure> {
        match uses.max_uses {
            None => Ok(false),
            Some(1) => Ok(uses.holder.as_deref() == Some(use_.id.as_bytes().as_slice())),
            Some(_) => {
                let values = (
                    use_.token.as_bytes().as_slice(),
                    use_.id.as_bytes().as_slice(),
                );
                let rows: Vec<(Vec<u8>,)> = self.client.rows(deadline, statement, values).await?;
                Ok(!rows.is_empty())
            }
        }
    }

    /// Writes the new state unless another writer has changed it since it was read. A repeated
    /// write recognizes itself by its version.
    async fn change(
        &self,
        deadline: Deadline,
        use_: &Use,
        uses: &Uses,
        held: i64,
        until: Option<i64>,
        takes: bool,
    ) -> Result<bool, Failure> {
        let limit = uses.max_uses.unwrap_or(i64::from(use_.limit.get()));
        let (token, id) = (blob(use_.token.as_bytes()), blob(use_.id.as_bytes()));
        let version = fastrand::i64(..);
        let holder = id.clone().filter(|_| takes && limit == 1);
        let mut writes = vec![(
            self.statements.change_uses.clone(),
            vec![
                Some(CqlValue::BigInt(limit)),
                Some(CqlValue::BigInt(held)),
                holder,
                Some(CqlValue::BigInt(version)),
                until.map(CqlValue::BigInt),
                token.clone(),
                uses.version.map(CqlValue::BigInt),
            ],
        )];
        if limit > 1 {
            let row = if takes {
                &self.statements.insert_use
            } else {
                &self.statements.delete_use
            };
            writes.push((row.clone(), vec![token, id]));
        }
        if was_applied(self.client.execute_batch(deadline, writes).await?)? {
            return Ok(true);
        }
        let found = self
            .read(deadline, &self.statements.uses, use_.token)
            .await?;
        Ok(found.version == Some(version))
    }
}

/// Reads columns by name: an applied write only has `[applied]`.
fn first(answer: QueryResult) -> Result<NewUse, Failure> {
    let rows = answer.into_rows_result().map_err(Failure::driver)?;
    let row = rows.first_row::<Row>().map_err(Failure::driver)?;
    let mut found = NewUse::default();
    for (column, value) in rows.column_specs().iter().zip(row.columns) {
        match (column.name(), value) {
            ("[applied]", Some(CqlValue::Boolean(applied))) => found.applied = applied,
            ("max_uses", Some(CqlValue::BigInt(max_uses))) => found.max_uses = Some(max_uses),
            ("holder", Some(CqlValue::Blob(holder))) => found.holder = Some(holder),
            ("until", Some(CqlValue::BigInt(until))) => found.until = Some(until),
            _ => {}
        }
    }
    Ok(found)
}
