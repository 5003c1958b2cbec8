//! Writes.

use sqlx::{Connection, Executor, PgConnection, Row, postgres::PgRow};
use tokio::sync::watch;
use tower_revoke_core::{UnixTime, Use};

use super::{database::Postgres, error, wake};
use crate::{
    backend::{Backend, Batch, Digest, Trim},
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
        let (answers, _) = batch::apply(link, &self.tables, batch).await?;
        Ok(answers)
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

    async fn take_new(
        &mut self,
        statement: &str,
        mark: i64,
        uses: &[&Use],
    ) -> Result<(Vec<Digest>, Option<i64>), sqlx::Error> {
        let column = |of: fn(&Use) -> &[u8]| -> Vec<_> { uses.iter().map(|one| of(one)).collect() };
        let untils: Vec<_> = uses.iter().map(|one| end(one.until)).collect();
        let taken = sqlx::query(statement)
            .bind(mark)
            .bind(column(|one| one.token.as_bytes()))
            .bind(column(|one| one.id.as_bytes()))
            .bind(untils);
        let won = taken.fetch_one(self).await?;
        let won: Option<&[u8]> = won.try_get(0)?;
        Ok((won.unwrap_or_default().as_chunks().0.to_vec(), None))
    }

    async fn ask(&mut self, packet: &str) -> Result<Vec<PgRow>, sqlx::Error> {
        self.fetch_all(sqlx::raw_sql(packet)).await
    }
}
