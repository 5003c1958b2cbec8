//! Writes.

use tokio::sync::watch;
use tower_revoke_core::UnixTime;

use super::{database::MySql, error, keeping, session::Link};
use crate::{
    backend::{Backend, Batch, Trim},
    batch,
    error::{Failure, Kind},
    op::Answer,
};

impl Backend for MySql {
    type Link = Link;

    fn kind(error: &sqlx::Error) -> Kind {
        error::kind(error)
    }

    async fn open(&self) -> Result<Link, Failure> {
        Ok(Link::open(&self.pool.connect_options(), self.request_timeout).await?)
    }

    async fn close(&self, link: Option<Link>) {
        if !self.is_borrowed {
            self.pool.close().await;
        }
        if let Some(link) = link {
            link.close().await;
        }
    }

    async fn apply(&self, link: &mut Link, batch: &Batch<'_>) -> Result<Vec<Answer>, Failure> {
        let (answers, last) = batch::apply(link, &self.tables, batch).await?;
        if let Some(last) = last {
            self.own.send_replace(last);
        }
        Ok(answers)
    }

    async fn trim(&self, link: &mut Link, trim: Trim) -> Result<(), Failure> {
        keeping::trim(link, &self.tables, trim).await
    }

    async fn purge(&self, before: UnixTime, at_once: i64) -> Result<(u64, bool), Failure> {
        // On a connection of its own: if the call is dropped it is closed, and the server rolls
        // back.
        let mut link = self.open().await?;
        let dropped = keeping::purge(&mut link, &self.tables, before, at_once).await?;
        link.close().await;
        Ok(dropped)
    }

    fn longest(&self) -> usize {
        // Two hex digits for each byte, and room for the rest of the row.
        self.packet.saturating_sub(1_024) / 2
    }

    async fn listen(&self, news: &watch::Sender<i64>) {
        let mut own = self.own.subscribe();
        loop {
            news.send_replace(*own.borrow_and_update());
            if own.changed().await.is_err() {
                return;
            }
        }
    }
}
