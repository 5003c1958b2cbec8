//! The history of a store, as far as others can follow it.

use super::Listed;
use crate::{KeyDigest, UnixTime};

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
