//! The [`Store`] trait, which keeps revocations and uses.

mod feed;
mod issued;
mod lift;
mod records;

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::{
    feed::{Change, ChangeFeed, Changes, Cursor},
    issued::{IssuedToken, IssuedTokenPage, IssuedTokenStore, TokenKind},
    lift::Lift,
    records::{LiftRecord, RecordFilter, RecordPage, Records, RevocationRecord},
};
use crate::{
    BoxError, KeyDigest, Revocation, RevocationKind, TokenId, UnixTime, UseId,
    internal::merge::later_end, retention,
};

/// A durable, shared store of revocations and uses.
///
/// # Contract
/// * **Durability.** An acknowledged write is never lost before it expires. Each implementation
///   must document what "durable" means for it.
/// * **Time.** Every `until` is an absolute wall-clock time in seconds. It already contains the
///   margin for the leeways of verifiers (see [`retention`]), so a store adds none of its own. An
///   entry has expired when [`retention::has_ended`] returns `true`.
/// * **Failure.** A method that can't determine its result returns [`StoreError::Unavailable`] or
///   [`StoreError::TimedOut`] in bounded time. The operation may have taken effect.
///
/// Six methods are required. Three more expose optional capabilities: [`feed`](Self::feed) lets nodes
/// follow every change, [`records`](Self::records) lets operators list who revoked what and why, and
/// [`issued_tokens`](Self::issued_tokens) keeps the opaque tokens that a server issues.
///
/// The conformance suite of tower-revoke-testing (`store_conformance!`) tests an implementation
/// against this contract.
///
/// # Cancel safety
/// Every method may be dropped at any await point. The operation may then have taken effect or not;
/// the caller can repeat it with the same key or use id.
///
/// # Examples
/// A complete store that passes the suite. A database uses a transaction where this one takes a
/// lock.
///
#[doc = concat!("```\n", include_str!("minimal.rs"), "```")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store of revocations",
    note = "pass a `MemoryStore`, a store of a tower-revoke-store-… crate, or implement `Store`"
)]
pub trait Store: Send + Sync + 'static {
    /// Whether [`look_up`](Self::look_up) completes on its first poll, as in an in-memory
    /// store.
    ///
    /// A list queries such a store synchronously and doesn't cache its answers.
    const ANSWERS_AT_ONCE: bool = false;

    /// Stores revocations, durably when it returns.
    ///
    /// The operation is idempotent and never shortens a revocation: of two revocations of one
    /// key the later `until` is kept, and of two rules also the later `issued_at_or_before`. If
    /// the two differ in their [`kind`](Revocation::kind), the token is listed as revoked, and the
    /// author and reason of the spent one never replace those of the other. A revocation takes
    /// effect even if the key was lifted before.
    ///
    /// # Errors
    /// [`StoreError::Full`] if the store has no room. After any error, some of the revocations
    /// may have been stored.
    fn revoke(
        &self,
        revocations: &[Revocation],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends a revocation of either kind early, durably when it returns. Returns `true` if there was
    /// one.
    ///
    /// Uses that were taken remain taken. The lift appears in the feed with a time later than
    /// the revocation that it ends. The store remembers it at least as long as it would have
    /// kept that revocation, and as long as any earlier lift of the key, so that no
    /// [`restore`](ChangeFeed::restore) revives the revocation.
    fn lift(&self, lift: &Lift) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Returns what is listed under each key, in the order of the keys, in one round trip.
    ///
    /// A token whose uses are all taken is [`Listed::Spent`], unless it is also revoked; the
    /// `until` of such a token is the later one. The result reflects every write that was
    /// acknowledged before the call.
    fn look_up(
        &self,
        keys: &[KeyDigest],
    ) -> impl Future<Output = Result<Vec<Option<Listed>>, StoreError>> + Send;

    /// Takes one of a token's `limit` uses, durably when it returns.
    ///
    /// The operation is atomic: at any time at most `limit` uses of a token are taken and not
    /// returned, whatever the number of concurrent calls and nodes. It is idempotent by
    /// [`Use::id`]: a repeated call with the same id gets the same outcome. A use of an expired
    /// token is never taken, nor one that a [`purge`](Self::purge) may have deleted.
    ///
    /// # Errors
    /// [`StoreError::LimitMismatch`] if the token's uses were counted with another limit
    /// before, [`StoreError::Expired`] if `until` has passed at the time `now`, see
    /// [`retention::has_ended`].
    fn take_use(
        &self,
        use_: &Use,
        now: UnixTime,
    ) -> impl Future<Output = Result<UseOutcome, StoreError>> + Send;

    /// Returns one use to the token, durably when it returns.
    ///
    /// Yields `true` if a use was held under this use id. Uses under other ids are never
    /// affected.
    fn return_use(&self, use_: &Use) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Deletes the entries whose `until` is earlier than `before`, and returns their number. An
    /// [issued token](Self::issued_tokens) is an entry, whose `until` is its
    /// [`retained_until`](IssuedToken::retained_until).
    ///
    /// An entry whose `until` equals `before` is kept. The caller allows for clock skew and
    /// uses a clock that never steps back. While another node purges the same data, a store may
    /// return 0 and leave the entries to it and to the next purge.
    fn purge(&self, before: UnixTime) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Returns the feed of changes, for nodes that mirror the store in memory. `None` if the
    /// store has none.
    ///
    /// A list over a store without a feed looks up each token and caches the answer for at most
    /// its `max_staleness`.
    fn feed(&self) -> Option<&dyn ChangeFeed> {
        None
    }

    /// Returns the records that operators can query. `None` if the store doesn't support it.
    fn records(&self) -> Option<&dyn Records> {
        None
    }

    /// Returns the opaque tokens that were issued. `None` if the store doesn't keep any.
    fn issued_tokens(&self) -> Option<&dyn IssuedTokenStore> {
        None
    }
}

/// What a store lists under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Listed {
    /// The token is revoked.
    Revoked {
        /// Until when the store keeps it. `None` means for ever.
        until: Option<UnixTime>,
    },
    /// All uses of the token are taken, or it was revoked as
    /// [spent](crate::RevocationKind::Spent).
    Spent {
        /// Until when the store keeps it. `None` means for ever.
        until: Option<UnixTime>,
    },
    /// All tokens under the key that were issued at or before a time are revoked.
    Rule {
        /// The latest `iat` of the revoked tokens.
        issued_at_or_before: UnixTime,
        /// Until when the store keeps it. `None` means for ever.
        until: Option<UnixTime>,
    },
}

impl From<&Revocation> for Listed {
    /// Returns how the key is listed once the revocation is stored.
    fn from(revocation: &Revocation) -> Self {
        let until = revocation.retained_until();
        match (revocation.issued_at_or_before(), revocation.kind()) {
            (Some(issued_at_or_before), _) => Self::Rule {
                issued_at_or_before,
                until,
            },
            (None, RevocationKind::Revoked) => Self::Revoked { until },
            (None, RevocationKind::Spent) => Self::Spent { until },
        }
    }
}

impl Listed {
    /// Returns until when the store keeps it. `None` means for ever.
    pub const fn until(&self) -> Option<UnixTime> {
        match *self {
            Self::Revoked { until } | Self::Spent { until } | Self::Rule { until, .. } => until,
        }
    }

    /// Returns whether it is [`Spent`](Self::Spent).
    pub const fn is_spent(&self) -> bool {
        matches!(self, Self::Spent { .. })
    }

    /// Merges two listings of one key: the later `until` is kept, and of rules also the later
    /// `issued_at_or_before`. Of a token's, [`Revoked`](Self::Revoked) takes precedence over
    /// [`Spent`](Self::Spent).
    ///
    /// Returns `self` if only one is a rule. One key never has both a rule and a token's listing.
    #[must_use]
    pub fn longer(self, other: Self) -> Self {
        let until = later_end(self.until(), other.until());
        match (self, other) {
            (
                Self::Rule {
                    issued_at_or_before: one,
                    ..
                },
                Self::Rule {
                    issued_at_or_before: two,
                    ..
                },
            ) => Self::Rule {
                issued_at_or_before: one.max(two),
                until,
            },
            (Self::Rule { .. }, _) | (_, Self::Rule { .. }) => self,
            (Self::Spent { .. }, Self::Spent { .. }) => Self::Spent { until },
            _ => Self::Revoked { until },
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
    /// Identifies this use. A retry carries the same id.
    pub id: UseId,
    /// How many uses the token has in all.
    pub limit: NonZeroU32,
    /// Until when the use can be taken and is kept: the token's `exp` plus the margin, see
    /// [`retention::of_token`]. `None` means for ever.
    pub until: Option<UnixTime>,
}

impl Use {
    /// Makes a use of a token. `exp` is the token's own, without any leeway; `None` means that
    /// the token never expires.
    pub const fn new(token: TokenId, id: UseId, limit: NonZeroU32, exp: Option<UnixTime>) -> Self {
        Self {
            token,
            id,
            limit,
            until: retention::of_token(exp),
        }
    }
}

/// The outcome of [`Store::take_use`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseOutcome {
    /// The use is taken for the caller.
    Taken {
        /// How many uses were left after this one, at the time of this call.
        left: u32,
    },
    /// All uses are taken under other ids.
    Spent,
}

/// Why a store operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store did not respond, or its response was not usable. The operation may have taken
    /// effect.
    #[error("the store is unavailable")]
    Unavailable(#[source] BoxError),
    /// The store did not respond in time. The operation may have taken effect.
    #[error("the store did not answer within {0:?}")]
    TimedOut(Duration),
    /// The store has reached its capacity. It rejects new entries rather than evicting others.
    #[error("the store is full ({0} entries)")]
    Full(u64),
    /// The token's uses were counted with another limit before.
    #[error("the token's uses are counted up to {stored}, not up to {asked}")]
    LimitMismatch {
        /// The limit of the stored uses.
        stored: u32,
        /// The limit of the requested use.
        asked: u32,
    },
    /// The token has expired, so none of its uses can be taken.
    #[error("the token's life is past")]
    Expired,
    /// A token with the same hash is stored already.
    #[error("a token with this hash was issued before")]
    AlreadyIssued,
    /// The store has trimmed changes that come after the cursor.
    #[error("the cursor is older than the history that is kept")]
    CursorTooOld,
    /// The cursor was not made by this store.
    #[error("the cursor is none of this store's")]
    ForeignCursor,
    /// The store has lost changes that the cursor covers, as after a fail-over that lost writes
    /// or a restore from a backup.
    #[error("the store's history went back behind what was read from it")]
    HistoryWentBack,
    /// The store doesn't support the operation.
    #[error("the store has no {0}")]
    Unsupported(&'static str),
}

impl StoreError {
    /// Returns whether the operation may have taken effect despite the error.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut(_))
    }
}
