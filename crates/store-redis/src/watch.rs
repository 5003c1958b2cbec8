//! Waits for changes: a connection per tag that blocks on its stream while somebody waits.
//!
//! One `XREAD` waits from the position of the follower that waits, and ends once there is a newer entry.
//! The next one is sent when a follower waits again, so a stream that grows all the time costs one
//! `XREAD` for each read of the feed.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{RedisError, RedisResult, aio::MultiplexedConnection, cmd};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::{
    client::Client,
    cursor::{EntryId, SeenEntry},
    value::{bytes, list},
};

/// How long one read blocks. A connection that died silently is noticed after it.
const BLOCKS_FOR: Duration = Duration::from_secs(5);

/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Watch {
    /// The entry under each tag by which the last wait ended.
    news: watch::Sender<Vec<EntryId>>,
    /// The position of the follower that began to wait last.
    seen: watch::Sender<Vec<EntryId>>,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Watch {
    pub(crate) fn new(tags: usize) -> Self {
        let none = vec![EntryId::default(); tags];
        Self {
            news: watch::Sender::new(none.clone()),
            seen: watch::Sender::new(none),
            tasks: Mutex::default(),
        }
    }

    pub(crate) async fn changed(
        &self,
        client: &Arc<Client>,
        feeds: &[String],
        since: &[SeenEntry],
    ) {
        let mut news = self.news.subscribe();
        self.start(client, feeds);
        let seen = since.iter().map(|seen| seen.id).collect();
        self.seen.send_replace(seen);
        // News from before is not of interest: it may be of a history that went back. The sender
        // lives as long as `self`.
        while news.changed().await.is_ok() {
            let news = news.borrow_and_update();
            if news.iter().zip(since).any(|(last, seen)| *last > seen.id) {
                return;
            }
        }
    }

    /// Starts the tasks, which end with the store.
    fn start(&self, client: &Arc<Client>, feeds: &[String]) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // The tasks of a runtime that was shut down are finished.
        tasks.retain(|task| !task.is_finished());
        if !tasks.is_empty() {
            return;
        }
        for (tag, feed) in feeds.iter().enumerate() {
            let task = Task {
                client: client.clone(),
                tag,
                feed: feed.clone(),
                news: self.news.clone(),
                seen: self.seen.subscribe(),
            };
            tasks.push(tokio::spawn(task.run()).abort_handle());
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut();
        for task in tasks.unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

/// Waits on the stream of one tag.
struct Task {
    client: Arc<Client>,
    tag: usize,
    feed: String,
    news: watch::Sender<Vec<EntryId>>,
    seen: watch::Receiver<Vec<EntryId>>,
}

impl Task {
    async fn run(mut self) {
        let mut is_again = false;
        loop {
            if let Ok(mut connection) = self.client.servers.own(self.tag).await {
                // Another server may have another history.
                if std::mem::replace(&mut is_again, true) {
                    self.tell(EntryId::LAST);
                }
                let failed = self.wait(&mut connection).await;
                tracing::debug!(
                    target: "tower_revoke::store_redis",
                    %failed,
                    "a wait for changes in Redis ended"
                );
            }
            self.client.servers.suspect();
            sleep(PAUSE).await;
        }
    }

    /// Reports new entries until the connection fails, and returns its error.
    async fn wait(&mut self, connection: &mut MultiplexedConnection) -> RedisError {
        // For those who wait already.
        self.seen.mark_changed();
        loop {
            // The sender lives longer: the task is aborted when it is dropped.
            let _ = self.seen.changed().await;
            while self.news.receiver_count() > 0 {
                let seen = self.seen.borrow_and_update()[self.tag];
                match self.newer(connection, seen).await {
                    Ok(Some(newer)) => {
                        self.tell(newer);
                        break;
                    }
                    Ok(None) => {}
                    Err(error) => return error,
                }
            }
        }
    }

    fn tell(&self, newer: EntryId) {
        self.news.send_modify(|news| news[self.tag] = newer);
    }

    /// Waits for an entry after one that was seen. `None` if there is none for a while.
    async fn newer(
        &self,
        connection: &mut MultiplexedConnection,
        seen: EntryId,
    ) -> RedisResult<Option<EntryId>> {
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(1);
        read.arg("BLOCK").arg(BLOCKS_FOR.as_millis() as u64);
        read.arg("STREAMS").arg(&self.feed).arg(seen.write());
        let answer = connection.send_packed_command(&read);
        let answer = timeout(BLOCKS_FOR + self.client.within, answer).await;
        let answer = answer.unwrap_or_else(|late| Err(std::io::Error::from(late).into()))?;
        let answer = answer.extract_error()?;
        // Of each stream its name and its entries, of each entry its id and its fields.
        let entries = list(&answer).first().and_then(|stream| list(stream).get(1));
        let id = entries.and_then(|entries| list(list(entries).first()?).first());
        Ok(id.and_then(|id| EntryId::read(bytes(id))))
    }
}
