//! What differs from one kind of database to the next, and the rows that they all keep.

use std::{borrow::Cow, fmt};

use tokio::sync::watch;
use tower_revoke_core::{Change, KeyDigest, Listed, Record, RecordFilter, RevocationKey, UnixTime};

use crate::{
    error::Failure,
    op::{Answer, Op},
    value::{read, time},
};

/// The half of a hash under which something is kept.
pub(crate) type Digest = [u8; 16];

/// One kind of database, as the queue and the readers see it.
pub(crate) trait Backend: fmt::Debug + Send + Sync + Sized + 'static {
    /// A connection that writes.
    type Link: Send + 'static;

    /// Opens a connection that writes.
    fn open(&self) -> impl Future<Output = Result<Self::Link, Failure>> + Send;

    /// Closes all connections, and the one that writes, when nobody can ask any more.
    fn close(&self, link: Option<Self::Link>) -> impl Future<Output = ()> + Send;

    /// Does all that is asked; it is durable when this returns. An answer for each. After an error
    /// nothing is known, unless it is one of those that [`Kind`](crate::error::Kind) knows better.
    fn apply(
        &self,
        link: &mut Self::Link,
        batch: &Batch<'_>,
    ) -> impl Future<Output = Result<Vec<Answer>, Failure>> + Send;

    /// Forgets the oldest events: what is too much, and what was written too long ago.
    fn trim(
        &self,
        link: &mut Self::Link,
        trim: Trim,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Forgets some of what ended before a time: how many entries, and whether there may be more.
    fn purge(
        &self,
        before: UnixTime,
        at_once: i64,
    ) -> impl Future<Output = Result<(u64, bool), Failure>> + Send;

    /// What is listed under each key, in their order.
    fn look_up(
        &self,
        keys: &[KeyDigest],
    ) -> impl Future<Output = Result<Vec<Option<Listed>>, Failure>> + Send;

    /// Where the feed stands, and the events after a position, oldest first; both as of one moment.
    fn feed(
        &self,
        after: i64,
        at_most: usize,
    ) -> impl Future<Output = Result<Feed, Failure>> + Send;

    /// What is revoked, by digest, after one of them.
    fn revoked(
        &self,
        after: Option<Digest>,
        at_most: usize,
    ) -> impl Future<Output = Result<Vec<Revoked>, Failure>> + Send;

    /// The tokens with taken uses, by digest, after one of them.
    fn uses(
        &self,
        after: Option<Digest>,
        at_most: usize,
    ) -> impl Future<Output = Result<Vec<Used>, Failure>> + Send;

    /// What is said of one key.
    fn record(
        &self,
        key: &KeyDigest,
    ) -> impl Future<Output = Result<Option<Record>, Failure>> + Send;

    /// Of so many revocations after a digest, those that are wanted.
    fn records(
        &self,
        wanted: &RecordFilter,
        after: Option<Digest>,
        window: usize,
        at_most: usize,
    ) -> impl Future<Output = Result<Window, Failure>> + Send;

    /// How many bytes of words one thing to do may have.
    fn longest(&self) -> usize {
        usize::MAX
    }

    /// How many reads can be under way at once.
    fn readers(&self) -> u32;

    /// Tells the number of the last event whenever there is a new one, by anybody; never ends. One
    /// that can't hear of them waits for ever.
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
    /// So many events.
    pub(crate) kept: i64,
    /// None that was written before.
    pub(crate) since: UnixTime,
    /// So many go at the most.
    pub(crate) at_once: i64,
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

/// The words that are kept with a revocation, each as it was [`written`](crate::value::written).
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) issuer: Option<String>,
    pub(crate) claim: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) said_by: Option<String>,
    pub(crate) reason: Option<String>,
}

impl Revoked {
    /// All that is known of it.
    pub(crate) fn record(self, words: Words) -> Record {
        let digest = KeyDigest::from_bytes(self.digest);
        let listed = listed(self.issued, self.until);
        let key = match listed {
            Listed::Rule { .. } => words.issuer.map(|issuer| RevocationKey::Rule {
                issuer: read(issuer),
                claim: (words.claim.zip(words.value))
                    .map(|(name, value)| (Cow::Owned(read(name)), read(value))),
            }),
            _ => Some(RevocationKey::Token(digest.as_token())),
        };
        Record {
            digest,
            key,
            listed,
            at: time(self.at),
            by: read(words.said_by.unwrap_or_default()),
            reason: read(words.reason.unwrap_or_default()),
        }
    }
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
    pub(crate) records: Vec<Record>,
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
