//! Waits for changes: a connection per tag that blocks on its stream while somebody waits.
//!
//! One `XREAD` waits from the position of the follower that waits, and returns the newer entries, which
//! the follower applies without asking again. The next one is sent when a follower waits again.
//!
//! The entries follow the position only if the history of the stream still has it: a server whose history
//! went back returns later entries too, and others may be missing in between. So an `XRANGE` for the
//! entry at the position is sent in the same pipeline. The server runs it right after the `XREAD`. If it
//! finds the entry with its stamp, nothing was lost or trimmed after it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{RedisError, RedisResult, Value, aio::MultiplexedConnection, pipe};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{sleep, timeout},
};
use tower_revoke_core::Change;

use crate::{
    client::Client,
    cursor::{EntryId, SeenEntry},
    value::{bytes, list},
    wire,
};

/// Entries of the feed in one page, over all tags.
pub(crate) const ENTRIES: usize = 1024;

/// How long one read blocks. A connection that died silently is noticed after it.
const BLOCKS_FOR: Duration = Duration::from_secs(5);

/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Watch {
    /// How the last wait under each tag ended.
    ends: watch::Sender<Vec<End>>,
    /// The position of the follower that began to wait last.
    seen: watch::Sender<Vec<SeenEntry>>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// How a wait under a tag ended.
#[derive(Clone, Debug, Default)]
struct End {
    /// The last entry; later than any if another server may have another history.
    last: SeenEntry,
    /// What follows the position from which it waited. `None` if some may be missing.
    entries: Option<Arc<Entries>>,
}

/// Entries without a gap.
#[derive(Debug, Default)]
struct Entries {
    /// The position before them, then each entry, with the number of changes up to it.
    places: Vec<(SeenEntry, usize)>,
    changes: Vec<Change>,
    /// Whether there may be more by now.
    more: bool,
}

impl Entries {
    /// Reads entries after a position. `None` if one can't be read.
    fn read(since: SeenEntry, entries: &[Value], more: bool) -> Option<Self> {
        let mut changes = Vec::new();
        let mut places = vec![(since, 0)];
        for one in entries {
            let (seen, told) = entry(one)?;
            wire::read_changes(bytes(told), &mut changes)?;
            places.push((seen, changes.len()));
        }
        Some(Self {
            places,
            changes,
            more,
        })
    }

    /// Returns the changes after a position. `None` if they don't begin there.
    fn after(&self, seen: SeenEntry) -> Option<&[Change]> {
        let (_, from) = self.places.iter().find(|(place, _)| *place == seen)?;
        self.changes.get(*from..)
    }
}

impl End {
    /// The feed has to be read again, from any position.
    fn unknown() -> Self {
        let mut end = Self::default();
        end.last.id = EntryId::LAST;
        end
    }
}

/// The changes after the position of a follower.
pub(crate) struct News {
    pub(crate) changes: Vec<Change>,
    /// The position after them.
    pub(crate) seen: Vec<SeenEntry>,
    /// Whether there may be more by now.
    pub(crate) more: bool,
}

impl Watch {
    pub(crate) fn new(tags: usize) -> Self {
        Self {
            ends: watch::Sender::new(vec![End::default(); tags]),
            seen: watch::Sender::new(vec![SeenEntry::default(); tags]),
            tasks: Mutex::default(),
        }
    }

    /// Waits for entries after a position. `None` if the changes have to be read from there.
    pub(crate) async fn changed(
        &self,
        client: &Arc<Client>,
        feeds: &[String],
        since: &[SeenEntry],
    ) -> Option<News> {
        let mut ends = self.ends.subscribe();
        self.start(client, feeds);
        self.seen.send_replace(since.to_vec());
        // Ends from before are not of interest: they may be of a history that went back. The sender
        // lives as long as `self`.
        while ends.changed().await.is_ok() {
            let ends = ends.borrow_and_update();
            let mut news = News {
                changes: Vec::new(),
                seen: since.to_vec(),
                more: false,
            };
            for (end, seen) in ends.iter().zip(&mut news.seen) {
                if end.last.id <= seen.id {
                    continue;
                }
                let entries = end.entries.as_ref()?;
                // A wait goes on while its follower reads the feed, and ends with what that has too.
                news.changes.extend_from_slice(entries.after(*seen)?);
                news.more |= entries.more;
                *seen = end.last;
            }
            if news.seen != since {
                return Some(news);
            }
        }
        None
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
                at_most: (ENTRIES / feeds.len()).max(1),
                ends: self.ends.clone(),
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
    at_most: usize,
    ends: watch::Sender<Vec<End>>,
    seen: watch::Receiver<Vec<SeenEntry>>,
}

impl Task {
    async fn run(mut self) {
        let mut is_again = false;
        loop {
            if let Ok(mut connection) = self.client.servers.own(self.tag).await {
                // Another server may have another history.
                if std::mem::replace(&mut is_again, true) {
                    self.tell(End::unknown());
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
            while self.ends.receiver_count() > 0 {
                let seen = self.seen.borrow_and_update()[self.tag];
                match self.newer(connection, seen).await {
                    Ok(Some(end)) => {
                        self.tell(end);
                        break;
                    }
                    Ok(None) => {}
                    Err(error) => return error,
                }
            }
        }
    }

    fn tell(&self, end: End) {
        self.ends.send_modify(|ends| ends[self.tag] = end);
    }

    /// Waits for entries after one that was seen. `None` if there is none for a while.
    async fn newer(
        &self,
        connection: &mut MultiplexedConnection,
        since: SeenEntry,
    ) -> RedisResult<Option<End>> {
        let id = since.id.write();
        let mut asked = pipe();
        asked.cmd("XREAD").arg("COUNT").arg(self.at_most);
        asked.arg("BLOCK").arg(BLOCKS_FOR.as_millis() as u64);
        asked.arg("STREAMS").arg(&self.feed).arg(&id);
        asked.cmd("XRANGE").arg(&self.feed).arg(&id).arg(&id);
        let answers = connection.send_packed_commands(&asked, 0, 2);
        let answers = timeout(BLOCKS_FOR + self.client.within, answers).await;
        let answers = answers.unwrap_or_else(|late| Err(std::io::Error::from(late).into()))?;
        let answers = answers.into_iter().map(Value::extract_error);
        let answers: Vec<_> = answers.collect::<RedisResult<_>>()?;
        let [read, found] = answers.as_slice() else {
            return Ok(None);
        };
        // Of each stream its name and its entries.
        let entries = list(read).first().and_then(|stream| list(stream).get(1));
        let entries = entries.map(list).unwrap_or_default();
        let Some(last) = entries.last() else {
            return Ok(None);
        };
        let Some((last, _)) = entry(last) else {
            return Ok(Some(End::unknown()));
        };
        let seen = list(found).first().and_then(entry);
        let is_next = seen.is_some_and(|(seen, _)| seen == since);
        let more = entries.len() == self.at_most;
        let entries = is_next.then(|| Entries::read(since, entries, more));
        Ok(Some(End {
            last,
            entries: entries.flatten().map(Arc::new),
        }))
    }
}

/// The id and the stamp of an entry, and its changes.
fn entry(entry: &Value) -> Option<(SeenEntry, &Value)> {
    let [id, fields] = list(entry) else {
        return None;
    };
    let [_, changes, _, stamp] = list(fields) else {
        return None;
    };
    let seen = SeenEntry {
        id: EntryId::read(bytes(id))?,
        stamp: bytes(stamp).try_into().ok()?,
    };
    Some((seen, changes))
}
