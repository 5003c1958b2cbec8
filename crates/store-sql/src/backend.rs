//! What each kind of database implements, and the rows that they have in common.

use std::fmt;

use tokio::sync::watch;
use tower_revoke_core::{
    Change, KeyDigest, Listed, RecordFilter, RevocationRecord, UnixTime, internal::merge::Lifted,
};

use crate::{
    error::{Failure, Kind},
    issued::Hash,
    op::{Answer, Op},
    value::{end, secs, time},
};

/// The 16 bytes of a key, of a token id or of a use id.
pub(crate) type Digest = [u8; 16];

/// The reading half of a database.
pub(crate) trait Reader: fmt::Debug + Send + Sync + Sized + 'static {
    /// Returns what is listed under each key, in the order of the keys.
    fn look_up(
        &self,
        keys: &[KeyDigest],
    ) -> impl Future<Output = Result<Vec<Option<Listed>>, Failure>> + Send;

    /// Returns the state of the feed and the events after a position, oldest first, from one
    /// snapshot.
    fn feed(
        &self,
        after: i64,
        at_most: usize,
    ) -> impl Future<Output = Result<Feed, Failure>> + Send;

    /// Returns the revocations after a digest, ordered by digest.
    fn revoked(
        &self,
        after: Option<Digest>,
        at_most: usize,
    ) -> impl Future<Output = Result<Vec<Revoked>, Failure>> + Send;

    /// Returns the tokens with taken uses after a digest, ordered by digest.
    fn uses(
        &self,
        after: Option<Digest>,
        at_most: usize,
    ) -> impl Future<Output = Result<Vec<Used>, Failure>> + Send;

    /// Returns the record of one key.
    fn record(
        &self,
        key: &KeyDigest,
    ) -> impl Future<Output = Result<Option<RevocationRecord>, Failure>> + Send;

    /// Returns the last lift of one key.
    fn last_lift(
        &self,
        key: &KeyDigest,
    ) -> impl Future<Output = Result<Option<Lifted>, Failure>> + Send;

    /// Scans the next `window` revocations after a digest and returns up to `at_most` that match
    /// the filter. Bounding the scan keeps a page fast even if few rows match.
    fn records(
        &self,
        filter: &RecordFilter,
        after: Option<Digest>,
        window: usize,
        at_most: usize,
    ) -> impl Future<Output = Result<Window, Failure>> + Send;

    /// Returns the row of an issued token, as JSON.
    fn issued(&self, hash: &Hash) -> impl Future<Output = Result<Option<String>, Failure>> + Send;

    /// Returns the rows of the tokens of a subject or a grant after a hash, ordered by hash.
    fn issued_of(
        &self,
        holder: &Digest,
        after: Option<Hash>,
        at_most: usize,
    ) -> impl Future<Output = Result<Vec<String>, Failure>> + Send;

    /// Returns how many reads can run at the same time.
    fn readers(&self) -> u32;
}

/// One kind of database, as used by the queue and the store.
pub(crate) trait Backend: Reader {
    /// A connection that writes.
    type Link: Send + 'static;

    /// Classifies an error of the driver.
    fn kind(error: &sqlx::Error) -> Kind;

    /// Opens a connection that writes.
    fn open(&self) -> impl Future<Output = Result<Self::Link, Failure>> + Send;

    /// Closes the connections of the store, once its last handle is dropped.
    fn close(&self, link: Option<Self::Link>) -> impl Future<Output = ()> + Send;

    /// Applies a batch and returns one answer for each operation; all are durable when it returns.
    ///
    /// # Errors
    /// The outcome is unknown unless the [`Kind`] of the error says otherwise.
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

    /// Removes up to `at_once` rows of each table that expired before a time. Returns the number of
    /// entries removed, and whether there may be more.
    fn purge(
        &self,
        before: UnixTime,
        at_once: i64,
    ) -> impl Future<Output = Result<(u64, bool), Failure>> + Send;

    /// Returns the maximum length of the texts of one operation, in bytes.
    fn longest(&self) -> usize {
        usize::MAX
    }

    /// Sends the number of the last event whenever it changes, as far as the database notifies us
    /// of that. Never returns.
    fn listen(&self, news: &watch::Sender<i64>) -> impl Future<Output = ()> + Send;
}

/// The operations of one transaction.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    /// A random number that is stored with each event of the transaction. After a fail-over or the
    /// restore of a backup, an event of the same number has another mark: that is how a cursor
    /// detects that history went back.
    pub(crate) mark: i64,
    /// Applied in this order.
    pub(crate) ops: Vec<&'a Op>,
}

/// Which events of the feed are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trim {
    /// The maximum number of events.
    pub(crate) kept: i64,
    /// Events are removed once they are older, in seconds, by the clock of the database. That of a
    /// node may be a day ahead, and would remove what others have yet to read.
    pub(crate) retention: i64,
    /// The maximum number of events that one call removes.
    pub(crate) at_once: i64,
}

#[cfg(any(feature = "mysql", feature = "sqlite"))]
impl Trim {
    /// Returns the last event to remove, if any. `seq` is the last event of the feed, `trimmed` the
    /// last that was removed, and `first_kept` the first recent one among the next `at_once`.
    pub(crate) fn cut(self, seq: i64, trimmed: i64, first_kept: Option<i64>) -> Option<i64> {
        let cut = first_kept.map_or(seq, |first| first.saturating_sub(1));
        let cut = cut.max(seq.saturating_sub(self.kept));
        let cut = cut.min(trimmed.saturating_add(self.at_once)).min(seq);
        (cut > trimmed).then_some(cut)
    }
}

/// The state of the feed, and a page of its events.
#[derive(Debug)]
pub(crate) struct Feed {
    /// The id of the store.
    pub(crate) store: Digest,
    /// The number and the mark of the last event.
    pub(crate) last: (i64, i64),
    /// The number and the mark of the last event that was removed. With the mark, a cursor at just
    /// this position can still be verified.
    pub(crate) trimmed: (i64, i64),
    /// The mark of the event at the requested position; `None` if there is no such event.
    pub(crate) seen: Option<i64>,
    /// The events after that position.
    pub(crate) events: Vec<Event>,
}

/// One event of the feed. The values of `what` are stored, and must not change.
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
    /// Returns the change that the feed reports for it.
    pub(crate) fn change(&self) -> Result<Change, Failure> {
        let (key, at) = (KeyDigest::from_bytes(self.digest), time(self.at));
        Ok(match self.what {
            0 | 4 => Change::Listed {
                key,
                listed: listed(self.what == 4, self.issued, self.until),
                at,
            },
            1 => Change::UsedUp {
                key,
                until: self.until.map(time),
            },
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
    /// Whether a token is revoked as spent.
    pub(crate) spent: bool,
}

impl Revoked {
    pub(crate) fn listed(&self) -> Listed {
        listed(self.spent, self.issued, self.until)
    }
}

/// One token with taken uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) token: Digest,
    pub(crate) until: Option<i64>,
    pub(crate) is_used_up: bool,
}

/// The matches in a window of revocations.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) records: Vec<RevocationRecord>,
    /// The last row of the window, if more rows may follow it.
    pub(crate) more_after: Option<Digest>,
}

/// Returns the columns of a [`listed`] key: whether it is spent, `issued_at_or_before` and `until`.
pub(crate) fn columns_of(listed: &Listed) -> (bool, Option<i64>, Option<i64>) {
    let issued = match *listed {
        Listed::Rule {
            issued_at_or_before,
            ..
        } => Some(secs(issued_at_or_before)),
        _ => None,
    };
    (listed.is_spent(), issued, end(listed.until()))
}

/// Returns how a revocation is listed.
pub(crate) fn listed(spent: bool, issued: Option<i64>, until: Option<i64>) -> Listed {
    let until = until.map(time);
    match issued {
        Some(issued) => Listed::Rule {
            issued_at_or_before: time(issued),
            until,
        },
        None if spent => Listed::Spent { until },
        None => Listed::Revoked { until },
    }
}
