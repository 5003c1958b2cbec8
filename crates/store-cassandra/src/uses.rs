//! The uses of a token: one partition each, written with conditions only.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use scylla::{
    DeserializeRow,
    response::query_result::QueryResult,
    statement::prepared::PreparedStatement,
    value::{CqlValue, Row},
};
use tower_revoke_core::{Claim, ClaimOutcome, StoreError, TokenId};

use crate::{
    error::Failure,
    link::{Deadline, Link, was_applied},
    said::{end, later, secs, time},
    statements::Statements,
};

/// Rows of claims that are forgotten in one write.
const HELD_AT_ONCE: i32 = 500;

/// What stands of a token's uses.
#[derive(Clone, Debug, DeserializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
struct Uses {
    max_uses: Option<i64>,
    held: Option<i64>,
    holder: Option<Vec<u8>>,
    turn: Option<i64>,
    until: Option<i64>,
}

/// What became of a new claim, and what stood in its way.
#[derive(Debug, Default)]
struct NewClaim {
    applied: bool,
    max_uses: Option<i64>,
    holder: Option<Vec<u8>>,
    until: Option<i64>,
}

/// Claims of one token go one after the other through one handle: at the server, all that came at
/// the same time would begin again and again after each other.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<TokenId, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    pub(crate) fn of(&self, token: TokenId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&token).and_then(Weak::upgrade) {
            return turn;
        }
        if turns.len() >= 1_024 {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::default();
        turns.insert(token, Arc::downgrade(&turn));
        turn
    }
}

/// What became of a claim, and whether it has to be told.
pub(crate) type Claimed = Result<ClaimOutcome, StoreError>;

fn blob(bytes: &[u8; 16]) -> Option<CqlValue> {
    Some(CqlValue::Blob(bytes.to_vec()))
}

/// Takes a use. Who `has_waited` for others of the same token looks first at what they have left: a
/// read costs the cluster much less than a condition.
pub(crate) async fn claim(
    link: &Link,
    statements: &Statements,
    deadline: Deadline,
    claim: &Claim,
    has_waited: bool,
) -> Claimed {
    let until = end(claim.until);
    if claim.limit.get() == 1 && !has_waited {
        let values = (
            claim.token.as_bytes().as_slice(),
            1_i64,
            claim.id.as_bytes().as_slice(),
            fastrand::i64(..),
            until,
        );
        let answer = link.ask(deadline, &statements.claim_new, values).await?;
        let found: NewClaim = first(answer)?;
        let is_mine = found.holder.as_deref() == Some(claim.id.as_bytes().as_slice());
        if found.applied {
            return sure_of_its_life(link, statements, deadline, claim).await;
        }
        if found.max_uses == Some(1) {
            if is_mine && later(found.until, until) == found.until {
                // Also where nobody knew what had become of it before.
                return sure_of_its_life(link, statements, deadline, claim).await;
            }
            if found.holder.is_some() && !is_mine {
                return Ok(ClaimOutcome::Spent);
            }
        }
    }
    claim_by_turns(link, statements, deadline, claim).await
}

async fn claim_by_turns(
    link: &Link,
    statements: &Statements,
    deadline: Deadline,
    claim: &Claim,
) -> Claimed {
    let limit = i64::from(claim.limit.get());
    loop {
        let uses = read(link, &statements.uses, deadline, claim.token).await?;
        if let Some(stored) = uses.max_uses
            && stored != limit
        {
            return Err(StoreError::OtherLimit {
                stored: u32::try_from(stored).unwrap_or(u32::MAX),
                asked: claim.limit.get(),
            });
        }
        let is_held = is_held(link, &statements.held, deadline, claim, &uses).await?;
        let held = uses.held.unwrap_or(0);
        if !is_held && held >= limit {
            return Ok(ClaimOutcome::Spent);
        }
        let until = match uses.max_uses {
            Some(_) => later(uses.until, end(claim.until)),
            None => end(claim.until),
        };
        let now_held = held + i64::from(!is_held);
        let done = is_held && until == uses.until;
        if done
            || change(
                link, statements, deadline, claim, &uses, now_held, until, true,
            )
            .await?
        {
            if !is_held {
                sure_of_its_life(link, statements, deadline, claim).await?;
            }
            let left = u32::try_from(limit - now_held).unwrap_or(0);
            return Ok(ClaimOutcome::Won { left });
        }
    }
}

/// Gives a use back.
pub(crate) async fn release(
    link: &Link,
    statements: &Statements,
    deadline: Deadline,
    claim: &Claim,
) -> Result<bool, Failure> {
    loop {
        // After what others have begun and not finished, a claim of its own too.
        let uses = read(link, &statements.uses_now, deadline, claim.token).await?;
        if !is_held(link, &statements.held_now, deadline, claim, &uses).await? {
            return Ok(false);
        }
        let held = uses.held.unwrap_or(1) - 1;
        let until = uses.until;
        if change(link, statements, deadline, claim, &uses, held, until, false).await? {
            return Ok(true);
        }
    }
}

/// Forgets all uses of a token, if nothing has happened to them since they were read.
pub(crate) async fn forget(
    link: &Link,
    statements: &Statements,
    deadline: Deadline,
    token: &[u8],
    turn: Option<i64>,
    max_uses: Option<i64>,
) -> Result<bool, Failure> {
    let token = CqlValue::Blob(token.to_vec());
    let mut writes = vec![(
        statements.forget_uses.clone(),
        vec![Some(token.clone()), turn.map(CqlValue::BigInt)],
    )];
    if max_uses != Some(1) {
        let values = (token.clone(), HELD_AT_ONCE);
        let rows: Vec<(Option<Vec<u8>>,)> =
            link.rows(deadline, &statements.all_held, values).await?;
        for claim in rows.into_iter().filter_map(|(claim,)| claim) {
            let values = vec![Some(token.clone()), Some(CqlValue::Blob(claim))];
            writes.push((statements.let_go.clone(), values));
        }
    }
    was_applied(link.ask_all(deadline, writes).await?)
}

/// A wall clock may have been set back since uses were forgotten. What was forgotten was so after
/// this time was written: whoever found nothing, and reads it afterwards, knows of it.
async fn sure_of_its_life(
    link: &Link,
    statements: &Statements,
    deadline: Deadline,
    claim: &Claim,
) -> Claimed {
    let won = ClaimOutcome::Won {
        left: claim.limit.get() - 1,
    };
    let Some(until) = end(claim.until) else {
        return Ok(won);
    };
    let purged: Vec<(Option<i64>,)> = link.rows(deadline, &statements.purged_before, ()).await?;
    if purged
        .first()
        .and_then(|(purged,)| *purged)
        .is_none_or(|purged| purged <= until)
    {
        return Ok(won);
    }
    release(link, statements, deadline, claim).await?;
    Err(StoreError::LifeIsPast)
}

async fn read(
    link: &Link,
    statement: &PreparedStatement,
    deadline: Deadline,
    token: TokenId,
) -> Result<Uses, Failure> {
    let token = token.as_bytes().as_slice();
    let rows: Vec<Uses> = link.rows(deadline, statement, (token,)).await?;
    Ok(rows.into_iter().next().unwrap_or(Uses {
        max_uses: None,
        held: None,
        holder: None,
        turn: None,
        until: None,
    }))
}

async fn is_held(
    link: &Link,
    statement: &PreparedStatement,
    deadline: Deadline,
    claim: &Claim,
    uses: &Uses,
) -> Result<bool, Failure> {
    match uses.max_uses {
        None => Ok(false),
        Some(1) => Ok(uses.holder.as_deref() == Some(claim.id.as_bytes().as_slice())),
        Some(_) => {
            let values = (
                claim.token.as_bytes().as_slice(),
                claim.id.as_bytes().as_slice(),
            );
            let rows: Vec<(Vec<u8>,)> = link.rows(deadline, statement, values).await?;
            Ok(!rows.is_empty())
        }
    }
}

/// Writes what stands now, if nobody else has written since it was read. Asked twice it recognizes
/// itself by its turn.
#[expect(
    clippy::too_many_arguments,
    reason = "one write, which has as many columns"
)]
async fn change(
    link: &Link,
    statements: &Statements,
    deadline: Deadline,
    claim: &Claim,
    uses: &Uses,
    held: i64,
    until: Option<i64>,
    takes: bool,
) -> Result<bool, Failure> {
    let limit = uses.max_uses.unwrap_or(i64::from(claim.limit.get()));
    let (token, id) = (blob(claim.token.as_bytes()), blob(claim.id.as_bytes()));
    let turn = fastrand::i64(..);
    let holder = id.clone().filter(|_| takes && limit == 1);
    let mut writes = vec![(
        statements.change_uses.clone(),
        vec![
            Some(CqlValue::BigInt(limit)),
            Some(CqlValue::BigInt(held)),
            holder,
            Some(CqlValue::BigInt(turn)),
            until.map(CqlValue::BigInt),
            token.clone(),
            uses.turn.map(CqlValue::BigInt),
        ],
    )];
    if limit > 1 {
        let row = if takes {
            &statements.hold
        } else {
            &statements.let_go
        };
        writes.push((row.clone(), vec![token, id]));
    }
    if was_applied(link.ask_all(deadline, writes).await?)? {
        return Ok(true);
    }
    let found = read(link, &statements.uses, deadline, claim.token).await?;
    Ok(found.turn == Some(turn))
}

/// By the names of the columns: of a claim that was made there is only the first.
fn first(answer: QueryResult) -> Result<NewClaim, Failure> {
    let rows = answer.into_rows_result().map_err(Failure::driver)?;
    let row = rows.first_row::<Row>().map_err(Failure::driver)?;
    let mut found = NewClaim::default();
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

/// Whether all uses are claimed, and until when that is remembered.
pub(crate) fn spent(
    max_uses: Option<i64>,
    held: Option<i64>,
    until: Option<i64>,
) -> Option<tower_revoke_core::Listed> {
    let is_spent = max_uses.zip(held).is_some_and(|(max, held)| held >= max);
    is_spent.then(|| tower_revoke_core::Listed::Spent {
        until: until.map(time),
    })
}

/// Whether a token's uses ended before a time.
pub(crate) fn ended(until: Option<i64>, before: tower_revoke_core::UnixTime) -> bool {
    until.is_some_and(|until| until < secs(before))
}
