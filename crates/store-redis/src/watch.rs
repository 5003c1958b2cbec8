//! Waits for changes: a connection per tag that blocks on its stream, from the first waiter on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{RedisResult, Value, aio::MultiplexedConnection, cmd};
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
    news: watch::Sender<News>,
    tasks: Mutex<Vec<AbortHandle>>,
}

#[derive(Clone, Debug)]
struct News {
    /// The last entry under each tag, as far as is known.
    last: Vec<EntryId>,
    /// The number of connections so far. Changes may have been missed before each.
    made: u64,
}

impl Watch {
    pub(crate) fn new(tags: usize) -> Self {
        let last = vec![EntryId::default(); tags];
        Self {
            news: watch::Sender::new(News { last, made: 0 }),
            tasks: Mutex::default(),
        }
    }

    pub(crate) async fn changed(
        &self,
        client: &Arc<Client>,
        feeds: &[String],
        since: &[SeenEntry],
    ) {
        self.start(client, feeds);
        let mut news = self.news.subscribe();
        let made = news.borrow().made;
        let is_new = |news: &News| {
            let mut pairs = news.last.iter().zip(since);
            news.made != made || pairs.any(|(last, seen)| *last > seen.id)
        };
        // The sender lives as long as `self`.
        let _ = news.wait_for(is_new).await;
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
            let follow = follow(client.clone(), tag, feed.clone(), self.news.clone());
            tasks.push(tokio::spawn(follow).abort_handle());
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

async fn follow(client: Arc<Client>, tag: usize, feed: String, news: watch::Sender<News>) {
    loop {
        if let Ok(mut connection) = client.servers.own(tag).await {
            let failed = block(&mut connection, &client, tag, &feed, &news).await;
            tracing::debug!(%failed, "a wait for changes in Redis ended");
        }
        client.servers.suspect();
        sleep(PAUSE).await;
    }
}

/// Reports new entries until the connection fails, and returns its error.
async fn block(
    connection: &mut MultiplexedConnection,
    client: &Client,
    tag: usize,
    feed: &str,
    news: &watch::Sender<News>,
) -> redis::RedisError {
    let mut last = EntryId::default();
    let mut is_first = true;
    loop {
        // More entries may have come than the one that ended the blocking read.
        let found = match within(client.within, end(connection, feed)).await {
            Ok(found) => found.unwrap_or(last),
            Err(error) => return error,
        };
        last = last.max(found);
        news.send_if_modified(|news| {
            news.made += u64::from(is_first);
            let is_new = is_first || news.last[tag] != found;
            news.last[tag] = found;
            is_new
        });
        is_first = false;
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(1);
        read.arg("BLOCK").arg(BLOCKS_FOR.as_millis() as u64);
        read.arg("STREAMS").arg(feed).arg(last.write());
        let read = async { connection.send_packed_command(&read).await?.extract_error() };
        if let Err(error) = within(BLOCKS_FOR + client.within, read).await {
            return error;
        }
    }
}

async fn within<T>(
    within: Duration,
    asked: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    let asked = timeout(within, asked).await;
    asked.unwrap_or_else(|late| Err(std::io::Error::from(late).into()))
}

async fn end(connection: &mut MultiplexedConnection, feed: &str) -> RedisResult<Option<EntryId>> {
    let mut read = cmd("XREVRANGE");
    read.arg(feed).arg("+").arg("-").arg("COUNT").arg(1);
    let answer = connection.send_packed_command(&read).await?;
    let answer = answer.extract_error()?;
    let id = list(&answer).first().map(list).and_then(<[Value]>::first);
    Ok(id.and_then(|id| EntryId::read(bytes(id))))
}
