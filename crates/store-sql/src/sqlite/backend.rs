//! Writes, in turn, and the notification of readers that wait for changes.

use std::time::Duration;

use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::watch;
use tower_revoke_core::UnixTime;

use super::{
    database::Sqlite,
    error::{self, Code},
    sql::LONGEST,
    writing,
};
use crate::{
    backend::{Backend, Batch, Trim},
    batch,
    error::{Failure, Kind},
    op::Answer,
};

/// How often the file is polled for the writes of other processes, once a caller waits for changes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Backend for Sqlite {
    type Link = SqliteConnection;

    fn kind(error: &sqlx::Error) -> Kind {
        error::kind(error)
    }

    async fn open(&self) -> Result<SqliteConnection, Failure> {
        loop {
            match self.options.connect().await {
                // Retries until the caller's timeout, as in `begin`.
                Err(error) if Code::of(&error) == Code::Busy => tokio::task::yield_now().await,
                opened => return Ok(opened?),
            }
        }
    }

    async fn close(&self, link: Option<SqliteConnection>) {
        // The last connection to close copies the log (WAL) into the file and deletes it. Two that
        // close at the same time each see the other and leave that to it, and the log remains. So
        // the connections are closed one after the other. If a close fails, the next process to
        // open the file recovers the log.
        while self.pool.size() > 0 {
            // A connection that is returned to the pool while it closes may remain open.
            self.pool.close().await;
        }
        let purging = self.purging.lock().await.take();
        for link in [purging, link].into_iter().flatten() {
            let _ = link.close().await;
        }
    }

    async fn apply(
        &self,
        link: &mut SqliteConnection,
        batch: &Batch<'_>,
    ) -> Result<Vec<Answer>, Failure> {
        let (answers, last) = {
            let _turn = self.turn.lock().await;
            batch::apply(link, &self.tables, batch).await?
        };
        if let Some(last) = last {
            self.tell(last);
        }
        Ok(answers)
    }

    async fn trim(&self, link: &mut SqliteConnection, trim: Trim) -> Result<(), Failure> {
        let _turn = self.turn.lock().await;
        writing::trim(link, trim).await
    }

    async fn purge(&self, before: UnixTime, at_once: i64) -> Result<(u64, bool), Failure> {
        let mut kept = self.purging.lock().await;
        // Taken out, so that a call that is dropped drops the connection too: it may be in the
        // middle of a transaction.
        let mut link = match kept.take() {
            Some(link) => link,
            None => self.open().await?,
        };
        let purged = {
            let _turn = self.turn.lock().await;
            writing::purge(&mut link, before, at_once).await?
        };
        *kept = Some(link);
        Ok(purged)
    }

    fn longest(&self) -> usize {
        // Two hex digits for each byte, and room for the rest of the row.
        LONGEST / 2 - 1_024
    }

    async fn listen(&self, news: &watch::Sender<i64>) {
        let mut last = self.last.subscribe();
        loop {
            news.send_replace(*last.borrow_and_update());
            if tokio::time::timeout(LOOK_EVERY, last.changed())
                .await
                .is_err()
                && let Ok(seq) = self.last_event().await
            {
                self.tell(seq);
            }
        }
    }
}
