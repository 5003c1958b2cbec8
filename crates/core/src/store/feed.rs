//! The history of a store, as far as others can follow it.

use super::{Listed, StoreError};
use crate::{BoxFuture, KeyDigest, UnixTime};

/// The changes of a store, in the order in which they were made.
///
/// A port of its own, since no request waits for it, and a store may do without
/// ([`Store::feed`](super::Store::feed)). A list over a store that has one keeps a mirror of all
/// that is listed, and asks the store about no token while that is young.
///
/// As of [`Store`](super::Store), every method may be dropped at any await point, and answers in
/// bounded time.
pub trait ChangeFeed: Send + Sync {
    /// What has changed since a cursor, in pages of the store's own size; `None` gives everything
    /// that is alive, from its first page on. No change is lost between two calls, whatever
    /// happens to the connection or the store between them; one may come twice. Changes of one key
    /// come in the order in which they were made. Once `more` is false, every write is told that
    /// was acknowledged before the call: whoever has read it all knows as much as
    /// [`look_up`](super::Store::look_up) did then.
    ///
    /// # Errors
    /// [`StoreError::CursorTooOld`] if changes after `since` were trimmed: load all again.
    /// [`StoreError::HistoryWentBack`] if the store has forgotten what the cursor has seen, also
    /// where new history has grown beyond that since: write back what is known by
    /// [`restore`](Self::restore), then load all again.
    /// [`StoreError::ForeignCursor`] if the cursor is none of this store's. To whoever has read it
    /// through this handle it means that the database was replaced, which is a history that went back.
    fn changes<'a>(
        &'a self,
        since: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>>;

    /// Resolves soon after something has changed since a cursor: a hint that spares waiting for
    /// the next poll. It may come for nothing, but not over and over while nothing changes, and may
    /// fail to come; whoever follows the feed asks [`changes`](Self::changes) from time to time all
    /// the same. A store that can't tell never resolves, which is what the default does.
    fn changed<'a>(&'a self, since: &'a Cursor) -> BoxFuture<'a, ()> {
        let _ = since;
        Box::pin(std::future::pending())
    }

    /// Writes back what a node has seen in the feed and the store has forgotten; durable when it
    /// returns. In any order, by any number of nodes, any number of times:
    /// * [`Change::Listed`] counts as a revocation said [`at`](Change::Listed::at) that time, a
    ///   spent token as one that was revoked; it never shortens, and it doesn't stand where the key
    ///   was lifted after that time.
    /// * [`Change::Lifted`] lifts what was said before that time, and only that.
    /// * [`Change::Returned`] is not a thing to write back, and changes nothing.
    ///
    /// Whether the key is listed in the end doesn't depend on the order. How long may: what was
    /// lifted meanwhile may have prolonged what stands. Who said it and why is not in it; what is
    /// known of that stays.
    ///
    /// Uses are written back by [`take_use`](super::Store::take_use), under their own ids.
    ///
    /// # Errors
    /// As of [`Store::revoke`](super::Store::revoke).
    fn restore<'a>(&'a self, known: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// A position in a store's history, in the store's own bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(Vec<u8>);

impl Cursor {
    /// Makes a cursor of a store's own bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Returns the bytes that the store made it of.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A stretch of a store's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// What happened; the changes of one key oldest first.
    pub changes: Vec<Change>,
    /// From where to ask the next time.
    pub next: Cursor,
    /// Whether there is more to be had at once. A page may be empty and still say so.
    pub more: bool,
}

/// One thing that happened.
///
/// A token's revocation and the end of its uses are two things. Both may stand under one key, and
/// neither ends the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Change {
    /// The key is listed like this from now on.
    Listed {
        /// What is listed.
        key: KeyDigest,
        /// How.
        listed: Listed,
        /// When it was said; of a token that is spent, and where nobody knows,
        /// [`UnixTime::EPOCH`].
        at: UnixTime,
    },
    /// The key's revocation was ended early.
    Lifted {
        /// Of what.
        key: KeyDigest,
        /// When; later than when what it lifts was said.
        at: UnixTime,
        /// Until when what it lifts would have been remembered; `None`: for ever.
        until: Option<UnixTime>,
    },
    /// A token that was spent is no longer: a use was returned.
    Returned {
        /// Of which token.
        key: KeyDigest,
    },
}

impl Change {
    /// What it is about.
    pub const fn key(&self) -> &KeyDigest {
        match self {
            Self::Listed { key, .. } | Self::Lifted { key, .. } | Self::Returned { key } => key,
        }
    }
}
