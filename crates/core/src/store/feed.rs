//! The [`ChangeFeed`] trait, by which nodes follow a store.

use serde::{Deserialize, Serialize};

use super::{Listed, StoreError};
use crate::{BoxFuture, KeyDigest, UnixTime};

/// The changes of a store, in the order in which they were made.
///
/// The feed is optional ([`Store::feed`](super::Store::feed)), and no request waits for it. A list
/// over a store with a feed mirrors everything that is listed, and looks up no token in the store
/// while the mirror is up to date.
///
/// The methods complete in bounded time, except [`changed`](Self::changed).
///
/// # Cancel safety
/// Every method may be dropped at any await point, as for [`Store`](super::Store).
pub trait ChangeFeed: Send + Sync {
    /// Returns the changes since a cursor, in pages of a size that the store chooses. Without a
    /// cursor, returns the first page of everything that is currently listed.
    ///
    /// * No change is lost between two calls, whatever happens to the connection or the store
    ///   between them. A change may be delivered more than once.
    /// * Changes of one key are delivered in the order in which they were made.
    /// * A page whose [`more`](Changes::more) is `false` completes the read: the pages so far
    ///   contain every write that was acknowledged before this call. The reader then knows as
    ///   much as [`look_up`](super::Store::look_up) would have returned at that time.
    ///
    /// # Errors
    /// * [`StoreError::CursorTooOld`] if changes after `since` were trimmed. The caller loads
    ///   everything again.
    /// * [`StoreError::HistoryWentBack`] if the store has lost changes that the cursor covers,
    ///   even if its new history has grown past the cursor since. The caller writes back what
    ///   it knows with [`restore`](Self::restore), then loads everything again.
    /// * [`StoreError::ForeignCursor`] if another store made the cursor. For a caller that read
    ///   the cursor through this handle it means that the database was replaced, and the caller
    ///   proceeds as for `HistoryWentBack`.
    fn changes<'a>(
        &'a self,
        since: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>>;

    /// Returns the cursor after the last change, for a node that is about to load everything. It
    /// follows the feed from there while it reads what is [`listed`](Self::listed), so that the feed
    /// need not keep every change that is made during a load.
    ///
    /// `None`, the default, if everything can only be loaded through [`changes`](Self::changes).
    ///
    /// # Errors
    /// If the store fails.
    fn end(&self) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Returns a page of what is listed, from the start or after the last page, without the changes
    /// that are made meanwhile. A page whose [`more`](Changes::more) is `false` is the last one.
    ///
    /// What was listed at the time of the last call of [`end`](Self::end) before the first page is
    /// in a page, unless a change since then concerns it. A store whose `end` returns a cursor
    /// implements this method, and rejects no page with [`StoreError::CursorTooOld`], however many
    /// changes are made meanwhile. The default reads [`changes`](Self::changes), which continue into
    /// the feed.
    ///
    /// # Errors
    /// As for [`changes`](Self::changes).
    fn listed<'a>(
        &'a self,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        self.changes(after)
    }

    /// Resolves soon after a change has been made past a cursor, so that the follower need not
    /// wait for its next poll.
    ///
    /// `None` is only a hint. It may come spuriously, though not repeatedly while nothing changes.
    /// A store that learns with the hint what has changed may return it, which spares the call of
    /// [`changes`](Self::changes):
    ///
    /// * The changes follow `since` immediately, and are in the order of the feed up to
    ///   [`next`](Changes::next). A store that isn't certain of either returns `None`, as after a
    ///   trim, or if its history may have gone back.
    /// * They need not contain every write that was acknowledged before, and don't make a mirror
    ///   younger, whatever [`more`](Changes::more) says. `more` means that the next call resolves at
    ///   once.
    ///
    /// It may fail to resolve, so a follower also calls `changes` at intervals. The default never
    /// resolves, for stores without notifications.
    fn changed<'a>(&'a self, since: &'a Cursor) -> BoxFuture<'a, Option<Changes>> {
        let _ = since;
        Box::pin(std::future::pending())
    }

    /// Writes back changes that a node has read from the feed and the store has lost, durably
    /// when it returns. Any number of nodes may write them in any order and any number of
    /// times.
    ///
    /// * [`Change::Listed`] counts as a revocation made [`at`](Change::Listed::at) that time. It
    ///   never shortens a revocation, and has no effect if the key was lifted after that time.
    /// * [`Change::UsedUp`] counts as a revocation of kind
    ///   [spent](crate::RevocationKind::Spent) that is made after every lift of the key so far,
    ///   since no lift returns a use.
    /// * [`Change::Lifted`] ends only a revocation that was made before that time.
    /// * [`Change::Returned`] can't be written back, and has no effect.
    ///
    /// Whether the key is listed in the end doesn't depend on the order. Its `until` may: a
    /// revocation that was lifted in between may have prolonged the one that remains. A change
    /// carries no author or reason; those that the store knows are kept.
    ///
    /// Uses are written back with [`take_use`](super::Store::take_use), under their own ids.
    ///
    /// # Errors
    /// As for [`Store::revoke`](super::Store::revoke).
    fn restore<'a>(&'a self, known: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// A position in a store's history or records, in an encoding of the store's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(Vec<u8>);

impl Cursor {
    /// Makes a cursor from bytes in the store's encoding.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Returns the bytes that the cursor was made from.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// One page of a store's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The changes; those of one key oldest first.
    pub changes: Vec<Change>,
    /// The cursor for the next call.
    pub next: Cursor,
    /// Whether more changes can be read at once. It may be `true` for an empty page.
    pub more: bool,
}

/// One change of a store.
///
/// A token can be revoked, as spent or not, and have no use left. The two are independent: the end
/// of one doesn't end the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Change {
    /// The key was revoked.
    Listed {
        /// The key that is listed.
        key: KeyDigest,
        /// How it is listed. [`Listed::Spent`] for a revocation of that kind.
        listed: Listed,
        /// When the revocation was made. [`UnixTime::EPOCH`] if the time is not known.
        at: UnixTime,
    },
    /// All uses of the token are taken.
    UsedUp {
        /// The key of the token.
        key: KeyDigest,
        /// Until when the store keeps the uses. `None` means for ever.
        until: Option<UnixTime>,
    },
    /// The key's revocation was ended early.
    Lifted {
        /// The key that was lifted.
        key: KeyDigest,
        /// When it was lifted; later than the time of the revocation that ended.
        at: UnixTime,
        /// Until when the revocation would have been kept. `None` means for ever.
        until: Option<UnixTime>,
    },
    /// A use of a token without one left was returned: undoes [`UsedUp`](Self::UsedUp).
    Returned {
        /// The key of the token.
        key: KeyDigest,
    },
}

impl Change {
    /// Returns the key that changed.
    pub const fn key(&self) -> &KeyDigest {
        match self {
            Self::Listed { key, .. }
            | Self::UsedUp { key, .. }
            | Self::Lifted { key, .. }
            | Self::Returned { key } => key,
        }
    }
}
