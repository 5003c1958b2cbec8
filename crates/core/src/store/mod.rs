//! The port behind which revocations and uses are kept.

mod feed;
mod records;

use std::{num::NonZeroU32, time::Duration};

pub use self::{
    feed::{Change, ChangeFeed, Changes, Cursor},
    records::{RecordFilter, RecordPage, Records, RevocationRecord},
};
use crate::{
    BoxError, KeyDigest, Revocation, RevocationKey, TokenId, UnixTime, UseId,
    internal::merge::later_end, retention,
};

/// Where revocations and uses live, durable and shared.
///
/// A store is exact: what it has acknowledged it returns until its time has passed, whatever
/// else happens to it. What "durable" means is each store's own, and must stand in its docs. The
/// conformance suite of tower-revoke-testing (`store_conformance!`) proves a store against this
/// contract.
///
/// Every method may be dropped at any await point; what was asked may then have happened or not,
/// and is asked again under the same key or use id. `now` and `until` are wall-clock seconds. Every
/// `until` is absolute, with the margin that verifiers' leeways need in it, see [`retention`]: a
/// store computes with none, and an entry is over when [`retention::has_ended`] says so.
/// A method that can't know the answer returns [`StoreError::Unavailable`] or
/// [`StoreError::TimedOut`] in bounded time.
///
/// Six methods make a store. What else it can do, it hands out: [`feed`](Self::feed) tells nodes of
/// every change, [`records`](Self::records) tells operators who revoked what and why.
///
/// # Examples
/// A whole store, which passes the suite. Where this one has a lock, a database has a transaction.
///
#[doc = concat!("```\n", include_str!("minimal.rs"), "```")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store of revocations",
    note = "pass a `MemoryStore`, a store of a tower-revoke-store-… crate, or implement `Store`"
)]
pub trait Store: Send + Sync + 'static {
    /// Whether [`look_up`](Self::look_up) is done as soon as it is polled, as in a store that is
    /// all in memory. Such a store is asked without waiting, and no answers are kept beside it.
    const ANSWERS_AT_ONCE: bool = false;

    /// Remembers revocations; durable when it returns. Idempotent. Never shortens: of two
    /// revocations of one key the later `until` stays, and of two rules the later
    /// `issued_at_or_before` too. It stands also where the key was lifted before. All or an error;
    /// after an error some may have been kept.
    fn revoke(
        &self,
        revocations: &[Revocation],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends a revocation early; durable when it returns. `true` if there was one. Uses that were
    /// taken stay taken. It is an event of the feed, newer than what it lifts, and remembered
    /// for as long as that would have been, and no shorter than earlier lifts of the key: no
    /// [`restore`](ChangeFeed::restore) revives it.
    fn lift(&self, lift: &Lift) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// What is listed under each key, in the order of the keys, in one round trip. A token whose
    /// uses are all taken is [`Listed::Spent`], unless it was revoked as well. Sees every write
    /// that was acknowledged before the call.
    fn look_up(
        &self,
        keys: &[KeyDigest],
    ) -> impl Future<Output = Result<Vec<Option<Listed>>, StoreError>> + Send;

    /// Takes one of a token's `limit` uses; durable when it returns. Atomic: of any number of
    /// uses, on any number of nodes, at most `limit` win that were not returned. Idempotent by
    /// [`Use::id`]: asked again, the same use gets the same answer. Never wins on a life that
    /// is past.
    ///
    /// # Errors
    /// [`StoreError::LimitMismatch`] if the token's uses were counted with another limit before,
    /// [`StoreError::Expired`] if `until` has come, see [`retention::has_ended`].
    fn take_use(&self, use_: &Use) -> impl Future<Output = Result<UseOutcome, StoreError>> + Send;

    /// Gives one use back; durable when it returns. `true` if the use was held by this very use
    /// id: nobody else's use is ever returned.
    fn return_use(&self, use_: &Use) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Forgets what ended before `before`: its `until` is earlier. An entry whose `until` is `before`
    /// itself ended at that time, not before it, and is kept. The number of entries dropped.
    /// The caller allows for clock skew, and reads a clock that never steps back.
    fn purge(&self, before: UnixTime) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Its changes, for nodes that keep all that it lists in memory; `None` if it has no feed. A
    /// store without one is asked about each token, within the list's `max_staleness`.
    fn feed(&self) -> Option<&dyn ChangeFeed> {
        None
    }

    /// What operators can ask of this store; `None` if nothing.
    fn records(&self) -> Option<&dyn Records> {
        None
    }
}

/// What a store knows under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Listed {
    /// One token was revoked.
    Revoked {
        /// Until when this is remembered; `None`: for ever.
        until: Option<UnixTime>,
    },
    /// One token's uses are all taken.
    Spent {
        /// Until when this is remembered; `None`: for ever.
        until: Option<UnixTime>,
    },
    /// All tokens under the key that were issued at or before a time are revoked.
    Rule {
        /// That time.
        issued_at_or_before: UnixTime,
        /// Until when this is remembered; `None`: for ever.
        until: Option<UnixTime>,
    },
}

impl From<&Revocation> for Listed {
    /// How the key is listed once this is kept.
    fn from(revocation: &Revocation) -> Self {
        let until = revocation.retained_until();
        match revocation.issued_at_or_before() {
            Some(issued_at_or_before) => Self::Rule {
                issued_at_or_before,
                until,
            },
            None => Self::Revoked { until },
        }
    }
}

impl Listed {
    /// Until when this is remembered; `None`: for ever.
    pub const fn until(&self) -> Option<UnixTime> {
        match *self {
            Self::Revoked { until } | Self::Spent { until } | Self::Rule { until, .. } => until,
        }
    }

    /// The two as one that never shortens either: the later `until`, and of rules the later
    /// `issued_at_or_before`. A rule and a token's listing never meet under one key; if they do,
    /// `self` stays.
    #[must_use]
    pub fn longer(self, other: Self) -> Self {
        match (self, other) {
            (
                Self::Rule {
                    issued_at_or_before: one,
                    until,
                },
                Self::Rule {
                    issued_at_or_before: two,
                    until: other,
                },
            ) => Self::Rule {
                issued_at_or_before: one.max(two),
                until: later_end(until, other),
            },
            (Self::Revoked { until }, Self::Revoked { until: other }) => Self::Revoked {
                until: later_end(until, other),
            },
            (Self::Spent { until }, Self::Spent { until: other }) => Self::Spent {
                until: later_end(until, other),
            },
            (one, _) => one,
        }
    }
}

/// One use of a token that may be used `limit` times.
///
/// ```
/// use std::num::NonZeroU32;
/// use tower_revoke_core::{Use, UseId, TokenId, UnixTime};
///
/// let token = TokenId::of_jwt("https://id.example.com", "42");
/// let exp = UnixTime::from_secs(1_700_000_000);
/// let id = UseId::from_bytes([7; 16]); // random
/// let single = Use::new(token, id, NonZeroU32::MIN, Some(exp));
/// assert_eq!(single.until, Some(UnixTime::from_secs(1_700_000_300)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Use {
    /// The token.
    pub token: TokenId,
    /// The name of this use; the same use asked again carries the same id.
    pub id: UseId,
    /// How many uses the token has in all.
    pub limit: NonZeroU32,
    /// Until when it can be taken and is kept: the token's `exp` with the margin in it, see
    /// [`retention::of_token`]; `None`: for ever.
    pub until: Option<UnixTime>,
}

impl Use {
    /// A use of a token. `exp` is the token's own, without any leeway; `None`: it never expires.
    pub const fn new(token: TokenId, id: UseId, limit: NonZeroU32, exp: Option<UnixTime>) -> Self {
        Self {
            token,
            id,
            limit,
            until: retention::of_token(exp),
        }
    }
}

/// How a use ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseOutcome {
    /// The use is the caller's.
    Taken {
        /// How many uses were left after this use, when it was made or asked again.
        left: u32,
    },
    /// Others have them all.
    Spent,
}

/// The early end of a revocation, with who wants it and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lift {
    /// What is no longer revoked.
    pub key: RevocationKey,
    /// When it was said.
    pub at: UnixTime,
    /// Who said it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It did not answer, or not with an answer. What was asked may have happened.
    #[error("the store is unavailable")]
    Unavailable(#[source] BoxError),
    /// It did not answer in time. What was asked may have happened.
    #[error("the store did not answer within {0:?}")]
    TimedOut(Duration),
    /// It has no room, and rejects rather than forget.
    #[error("the store is full ({0} entries)")]
    Full(u64),
    /// The token's uses were counted with another limit before.
    #[error("the token's uses are counted up to {stored}, not up to {asked}")]
    LimitMismatch {
        /// The limit of the uses that are kept.
        stored: u32,
        /// The limit of this one.
        asked: u32,
    },
    /// Nothing can be taken on a life that is past.
    #[error("the token's life is past")]
    Expired,
    /// Changes after the cursor were trimmed.
    #[error("the cursor is older than the history that is kept")]
    CursorTooOld,
    /// The cursor was not made by this store.
    #[error("the cursor is none of this store's")]
    ForeignCursor,
    /// The store has forgotten what the cursor has seen: a fail-over that lost writes, or a backup
    /// that was played back.
    #[error("the store's history went back behind what was read from it")]
    HistoryWentBack,
    /// The store has no such ability.
    #[error("the store has no {0}")]
    Unsupported(&'static str),
}

impl StoreError {
    /// Returns whether what was asked may have happened all the same.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut(_))
    }
}
