//! Writes, by functions of the schema. A batch is passed as arrays, one for each column.

use std::collections::BTreeMap;

use sqlx::{
    Connection, PgConnection, Postgres as Driver, Row, postgres::PgArguments, query::Query,
};
use tokio::sync::watch;
use tower_revoke_core::UnixTime;

use super::{database::Postgres, error, statements::Statements, wake};
use crate::{
    backend::{Backend, Batch, Trim},
    error::{Failure, Kind},
    op::{Answer, Op},
    value::secs,
};

/// Begins a purge, which runs in a session of the pool. READ COMMITTED lets it read after it has
/// taken the lock, and READ WRITE lets it write, whatever the defaults of a session of the user's
/// pool.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

impl Backend for Postgres {
    type Link = PgConnection;

    fn kind(error: &sqlx::Error) -> Kind {
        error::kind(error)
    }

    async fn open(&self) -> Result<PgConnection, Failure> {
        Ok(PgConnection::connect_with(&self.options()).await?)
    }

    async fn close(&self, link: Option<PgConnection>) {
        if !self.is_borrowed {
            self.pool.close().await;
        }
        if let Some(link) = link {
            // An error doesn't matter: the server notices a closed socket by itself.
            let _ = link.close().await;
        }
    }

    async fn apply(
        &self,
        link: &mut PgConnection,
        batch: &Batch<'_>,
    ) -> Result<Vec<Answer>, Failure> {
        apply(link, &self.statements, batch).await
    }

    async fn trim(&self, link: &mut PgConnection, trim: Trim) -> Result<(), Failure> {
        sqlx::query(&self.statements.trim)
            .bind(trim.kept)
            .bind(trim.retention)
            .bind(trim.at_once)
            .execute(link)
            .await?;
        Ok(())
    }

    async fn purge(&self, before: UnixTime, at_once: i64) -> Result<(u64, bool), Failure> {
        let mut transaction = self.pool.begin_with(BEGIN).await?;
        let row = sqlx::query(&self.statements.purge)
            .bind(secs(before))
            .bind(at_once)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        let dropped: i64 = row.try_get(0)?;
        Ok((u64::try_from(dropped).unwrap_or(0), row.try_get(1)?))
    }

    async fn listen(&self, news: &watch::Sender<i64>) {
        wake::listen(self, news).await;
    }
}

/// Applies a batch by at most two statements, each a transaction of its own. `take_new` takes the
/// uses of single-use tokens that were never used, which are most of the load. `apply` does the
/// rest, and decides about the uses that `take_new` did not take.
///
/// Callers of one batch are concurrent, so none relies on an order between their operations. If the
/// second transaction fails, both can be repeated: `apply` recognizes a use that was taken by its
/// id.
async fn apply(
    open: &mut PgConnection,
    statements: &Statements,
    batch: &Batch<'_>,
) -> Result<Vec<Answer>, Failure> {
    let mut answers = vec![Answer::default(); batch.ops.len()];
    let mut singles = BTreeMap::new();
    let mut rest = Vec::new();
    for (place, op) in batch.ops.iter().enumerate() {
        // `take_new` can take one use of a token; `apply` decides about further ones.
        let is_first = op.is_single_use() && !singles.contains_key(&op.digest);
        match is_first {
            true => drop(singles.insert(op.digest, place)),
            false => rest.push(place),
        }
    }
    if !singles.is_empty() {
        let uses: Vec<_> = singles.values().map(|place| batch.ops[*place]).collect();
        let take_new = bound_singles(&statements.take_new, batch, &uses);
        let won = take_new.fetch_one(&mut *open).await?;
        let won: Option<&[u8]> = won.try_get(0)?;
        for token in won.unwrap_or_default().as_chunks().0 {
            let place = singles.remove(token);
            let answer = place.and_then(|place| answers.get_mut(place));
            answer.ok_or(Failure::Garbled("an answer"))?.outcome = 1;
        }
        rest.extend(singles.into_values());
    }
    if rest.is_empty() {
        return Ok(answers);
    }
    let others: Vec<_> = rest.iter().map(|place| batch.ops[*place]).collect();
    let apply = bound(&statements.apply, batch, &others);
    for row in apply.fetch_all(open).await? {
        let asked = place(row.try_get(0)?).and_then(|asked| rest.get(asked));
        let answer = asked.and_then(|asked| answers.get_mut(*asked));
        *answer.ok_or(Failure::Garbled("an answer"))? = Answer {
            outcome: row.try_get(1)?,
            number: row.try_get(2)?,
        };
    }
    Ok(answers)
}

/// Converts an ordinality, which begins at 1, to an index.
fn place(number: i64) -> Option<usize> {
    usize::try_from(number.checked_sub(1)?).ok()
}

fn column<'a, T>(ops: &[&'a Op], of: impl Fn(&'a Op) -> T) -> Vec<T> {
    ops.iter().map(|op| of(op)).collect()
}

/// Binds uses of single-use tokens to the statement that calls `take_new`.
fn bound_singles<'a>(
    statement: &'a str,
    batch: &Batch<'_>,
    ops: &[&'a Op],
) -> Query<'a, Driver, PgArguments> {
    sqlx::query(statement)
        .bind(batch.mark)
        .bind(column(ops, |op| &op.digest[..]))
        .bind(column(ops, |op| op.id.as_ref().map(|id| &id[..])))
        .bind(column(ops, |op| op.until))
}

/// Binds operations to the statement that calls `apply`.
fn bound<'a>(
    statement: &'a str,
    batch: &Batch<'_>,
    ops: &[&'a Op],
) -> Query<'a, Driver, PgArguments> {
    sqlx::query(statement)
        .bind(batch.mark)
        .bind(column(ops, |op| op.what as i16))
        .bind(column(ops, |op| &op.digest[..]))
        .bind(column(ops, |op| op.id.as_ref().map(|id| &id[..])))
        .bind(column(ops, |op| op.limit))
        .bind(column(ops, |op| op.issued))
        .bind(column(ops, |op| op.until))
        .bind(column(ops, |op| op.at))
        .bind(column(ops, |op| op.spent))
        .bind(column(ops, |op| op.issuer.as_deref()))
        .bind(column(ops, |op| {
            op.claim.as_ref().map(|(name, _)| &name[..])
        }))
        .bind(column(ops, |op| {
            op.claim.as_ref().map(|(_, value)| &value[..])
        }))
        .bind(column(ops, |op| op.by.as_str()))
        .bind(column(ops, |op| op.reason.as_str()))
}
