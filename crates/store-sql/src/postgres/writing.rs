//! Writes.

use std::collections::BTreeMap;

use sqlx::{Connection, Executor, PgConnection, Row, postgres::PgRow};
use tokio::sync::watch;
use tower_revoke_core::{UnixTime, Use, UseOutcome};

use super::{database::Postgres, error, wake};
use crate::{
    backend::{Backend, Batch, Trim},
    batch,
    error::{Failure, Kind},
    op::Answer,
    value::{end, secs},
};

/// Begins a purge, which runs in a session of the pool. READ COMMITTED lets it read after it has
/// taken the lock, and READ WRITE lets it write, whatever the defaults of a session of the user's
/// pool.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// The maximum length of the text of one round trip, in bytes. The server accepts twice as much.
const LONGEST: usize = 1 << 29;

impl Backend for Postgres {
    type Link = PgConnection;

    fn kind(error: &sqlx::Error) -> Kind {
        error::kind(error)
    }

    async fn open(&self) -> Result<PgConnection, Failure> {
        // If the node stops between its two round trips, the server ends the session, which rolls
        // back and releases the lock.
        let options = self.options();
        let options = options.options([("idle_in_transaction_session_timeout", "1000")]);
        Ok(PgConnection::connect_with(&options).await?)
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
        apply(link, self, batch).await
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

    fn longest(&self) -> usize {
        // Two hex digits for each byte, and room for the rest of the row.
        LONGEST / 2 - 1_024
    }

    async fn listen(&self, news: &watch::Sender<i64>) {
        wake::listen(self, news).await;
    }
}

impl batch::Link for PgConnection {
    type Row = PgRow;

    fn kind(error: &sqlx::Error) -> Kind {
        error::kind(error)
    }

    fn is_read_only(error: &sqlx::Error) -> bool {
        error::is_of_a_standby(error)
    }

    fn packet(&self) -> usize {
        LONGEST
    }

    async fn ask(&mut self, packet: &str) -> Result<Vec<PgRow>, sqlx::Error> {
        self.fetch_all(sqlx::raw_sql(packet)).await
    }
}

/// Applies a batch by at most two transactions. One call of `take_new` takes the uses of single-use
/// tokens that were never used, which are most of the load. The rest, and the uses that it did not
/// take, follow as in other databases.
///
/// Callers of one batch are concurrent, so none relies on an order between their operations. If the
/// second transaction fails, both can be repeated: a use that was taken is recognized by its id.
async fn apply(
    link: &mut PgConnection,
    database: &Postgres,
    batch: &Batch<'_>,
) -> Result<Vec<Answer>, Failure> {
    let mut answers = vec![Answer::default(); batch.ops.len()];
    let mut singles = BTreeMap::new();
    let mut rest = Vec::new();
    for (place, op) in batch.ops.iter().enumerate() {
        // `take_new` can take one use of a token; another one may hold it.
        match op.single_use() {
            Some(use_) if !singles.contains_key(use_.token.as_bytes()) => {
                singles.insert(use_.token.as_bytes(), (place, use_));
            }
            _ => rest.push(place),
        }
    }
    if !singles.is_empty() {
        let uses: Vec<_> = singles.values().map(|(_, use_)| *use_).collect();
        let column =
            |of: fn(&Use) -> &[u8]| -> Vec<_> { uses.iter().map(|use_| of(use_)).collect() };
        let untils: Vec<_> = uses.iter().map(|use_| end(use_.until)).collect();
        let take_new = sqlx::query(&database.statements.take_new)
            .bind(batch.mark)
            .bind(column(|use_| use_.token.as_bytes()))
            .bind(column(|use_| use_.id.as_bytes()))
            .bind(untils);
        let won = take_new.fetch_one(&mut *link).await?;
        let won: Option<&[u8]> = won.try_get(0)?;
        for token in won.unwrap_or_default().as_chunks().0 {
            let place = singles.remove(token).map(|(place, _)| place);
            let answer = place.and_then(|place| answers.get_mut(place));
            let taken = UseOutcome::Taken { left: 0 };
            *answer.ok_or(Failure::Garbled("an answer"))? = Answer::Use(taken);
        }
        rest.extend(singles.into_values().map(|(place, _)| place));
    }
    if rest.is_empty() {
        return Ok(answers);
    }
    let others = Batch {
        mark: batch.mark,
        ops: rest.iter().map(|place| batch.ops[*place]).collect(),
    };
    let (more, _) = batch::apply(link, &database.tables, &others).await?;
    for (place, answer) in rest.into_iter().zip(more) {
        answers[place] = answer;
    }
    Ok(answers)
}
