//! What differs from one kind of database to the next, and the rows that they all keep.

use std::fmt;

use tokio::sync::watch;
use tower_revoke_core::{Change, KeyDigest, Listed, RecordFilter, RevocationRecord, UnixTime};

use crate::{
    error::{Failure, Kind},
    op::{Answer, Op},
    value::time,
};

/// The half of a hash under which something is kept.
pub(crate) type Digest = [u8; 16];

/// What a store reads from a database.
pub(crate) trait Reader: fmt::Debug + Send + Sync + Sized + 'static {
    /// What is listed under each key, in the order of the keys.
    fn look_up(
        &self,
        keys: &[KeyDigest],
    ) -> impl Future<Output = Result<Vec<Option<Listed>>, Failure>> + Send;

    /// The state of the feed and the events after a position, oldest first, from one snapshot.
    fn feed(
        &self,
        after: i64,
        at_most: usize,
    ) -> impl Future<Output = Result<Feed, Failure>> + Send;

    /// The revocations after a digest, ordered by digest.
    fn revoked(
        &self,
        after: Option<Digest>,
        at_most: usize,
    ) -> impl Future<Output = Result<Vec<Revoked>, Failure>> + Send;

    /// The tokens with taken uses after a digest, ordered by digest.
    fn uses(
        &self,
        after: Option<Digest>,
        at_most: usize,
    ) -> impl Future<Output = Result<Vec<Used>, Failure>> + Send;

    /// The record of one key.
    fn record(
        &self,
        key: &KeyDigest,
    ) -> impl Future<Output = Result<Option<RevocationRecord>, Failure>> + Send;

    /// Looks at the next `window` revocations after a digest and returns those that match the
    /// filter. The bound on the rows that are looked at keeps a page with few matches quick.
    fn records(
        &self,
        filter: &RecordFilter,
        after: Option<Digest>,
        window: usize,
        at_most: usize,
    ) -> impl Future<Output = Result<Window, Failure>> + Send;

    /// How many reads can run at the same time.
    fn readers(&self) -> u32;
}

/// One kind of database, as the queue and the store see it.
pub(crate) trait Backend: Reader {
    /// A connection that writes.
    type Link: Send + 'static;

    /// What to do about an error of the driver.
    fn kind(error: &sqlx::Error) -> Kind;

    /// Opens a connection that writes.
    fn open(&self) -> impl Future<Output = Result<Self::Link, Failure>> + Send;

    /// Closes the connections of the store, once its last handle is dropped.
    fn close(&self, link: Option<Self::Link>) -> impl Future<Output = ()> + Send;

    /// Applies a batch as one transaction, which is durable when this returns, and answers each of
    /// its operations. After an error the outcome is unknown unless its [`Kind`] says otherwise.
    fn apply(
        &self,
        link: &mut Self::Link,
        batch: &Batch<'_>,
    ) -> impl Future<Output = Result<Vec<Answer>, Failure>> + Send;

    /// Removes the oldest events: those beyond the capacity of the feed or past its retention.
    fn trim(
        &self,
        link: &mut Self::Link,
        trim: Trim,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Removes up to `at_once` rows of each table that ended before a time. Returns how many entries
    /// went, and whether there may be more.
    fn purge(
        &self,
        before: UnixTime,
        at_once: i64,
    ) -> impl Future<Output = Result<(u64, bool), Failure>> + Send;

    /// How many bytes the texts of one operation may have.
    fn longest(&self) -> usize {
        usize::MAX
    }

    /// Sends the number of the last event whenever it changes, as far as the database tells; never
    /// returns.
    fn listen(&self, news: &watch::Sender<i64>) -> impl Future<Output = ()> + Send;
}

/// What is written at once.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    /// When, by our clock.
    pub(crate) now: UnixTime,
    /// A random number that no other history has at its events.
    pub(crate) mark: i64,
    /// In the order in which it is done.
    pub(crate) ops: Vec<&'a Op>,
}

/// What of the feed is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trim {
    /// How many events, at most.
    pub(crate) kept: i64,
    /// None that was written earlier.
    pub(crate) since: UnixTime,
    /// How many events one call removes, at most.
    pub(crate) at_once: i64,
}

#[cfg(any(feature = "mysql", feature = "sqlite"))]
impl Trim {
    /// The last event to remove, if there is any: `seq` is the last event, `trimmed` the last one
    /// that was removed, and `first_kept` the first that is recent enough, of the next `at_once`.
    pub(crate) fn cut(self, seq: i64, trimmed: i64, first_kept: Option<i64>) -> Option<i64> {
        let cut = first_kept.map_or(seq, |first| first.saturating_sub(1));
        let cut = cut.max(seq.saturating_sub(self.kept));
        let cut = cut.min(trimmed.saturating_add(self.at_once)).min(seq);
        (cut > trimmed).then_some(cut)
    }
}

/// A stretch of the feed.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Whose it is.
    pub(crate) store: Digest,
    /// The last event of all, and its mark.
    pub(crate) last: (i64, i64),
    /// The last that was forgotten, and its mark.
    pub(crate) trimmed: (i64, i64),
    /// The mark of the event after which was asked; `None`: it is not there.
    pub(crate) seen: Option<i64>,
    /// What was asked for.
    pub(crate) events: Vec<Event>,
}

/// One event. Part of the schema: numbers stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) seq: i64,
    pub(crate) mark: i64,
    pub(crate) what: i64,
    pub(crate) digest: Digest,
    pub(crate) issued: Option<i64>,
    pub(crate) until: Option<i64>,
    pub(crate) at: i64,
}

impl Event {
    /// What of it is told.
    pub(crate) fn change(&self) -> Result<Change, Failure> {
        let (key, at) = (KeyDigest::from_bytes(self.digest), time(self.at));
        Ok(match self.what {
            0 => Change::Listed {
                key,
                listed: listed(self.issued, self.until),
                at,
            },
            1 => spent(self.digest, self.until),
            2 => Change::Lifted {
                key,
                at,
                until: self.until.map(time),
            },
            3 => Change::Returned { key },
            _ => return Err(Failure::Garbled("a change")),
        })
    }
}

/// One revocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Revoked {
    pub(crate) digest: Digest,
    pub(crate) issued: Option<i64>,
    pub(crate) until: Option<i64>,
    pub(crate) at: i64,
}

/// One token with taken uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) token: Digest,
    pub(crate) until: Option<i64>,
    pub(crate) is_spent: bool,
}

/// What is wanted of a window of revocations.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) records: Vec<RevocationRecord>,
    /// The last that was looked at, if there may be more behind it.
    pub(crate) more_after: Option<Digest>,
}

/// How a revocation is listed.
pub(crate) fn listed(issued: Option<i64>, until: Option<i64>) -> Listed {
    let until = until.map(time);
    match issued {
        Some(issued) => Listed::Rule {
            issued_at_or_before: time(issued),
            until,
        },
        None => Listed::Revoked { until },
    }
}

/// That a token is spent.
pub(crate) fn spent(token: Digest, until: Option<i64>) -> Change {
    Change::Listed {
        key: KeyDigest::from_bytes(token),
        listed: Listed::Spent {
            until: until.map(time),
        },
        at: UnixTime::EPOCH,
    }
}
