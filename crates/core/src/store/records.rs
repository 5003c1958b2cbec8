//! The [`Records`] trait, by which operators query who was revoked, by whom and why.

use super::{Cursor, Listed, StoreError};
use crate::{BoxFuture, KeyDigest, Revocation, RevocationKey, UnixTime};

/// The revocations of a store, with their authors and reasons.
///
/// Records are optional ([`Store::records`](super::Store::records)), and no request waits for them.
/// They don't contain uses.
pub trait Records: Send + Sync {
    /// Returns one page of the current revocations that match a filter: at most `at_most`, and at
    /// least one if any is left.
    ///
    /// The store chooses the order, which does not change between pages. A revocation that is made
    /// or lifted between two pages may or may not be returned; every other one is returned exactly
    /// once.
    ///
    /// # Errors
    /// As for [`Store::look_up`](super::Store::look_up), and [`StoreError::ForeignCursor`] if
    /// `after` was not made by this store.
    fn page<'a>(
        &'a self,
        wanted: &'a RecordFilter,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>>;

    /// Returns the last lift of a key that the store still remembers, see
    /// [`Store::lift`](super::Store::lift). `None` if there is none.
    ///
    /// # Errors
    /// As for [`Store::look_up`](super::Store::look_up).
    fn last_lift<'a>(
        &'a self,
        key: &'a KeyDigest,
    ) -> BoxFuture<'a, Result<Option<LiftRecord>, StoreError>>;
}

/// Selects revocations. A record must meet all conditions.
///
/// ```
/// use tower_revoke_core::{RevocationKey, UnixTime, RecordFilter};
///
/// let this_year = RecordFilter::all().since(UnixTime::from_secs(1_767_225_600));
/// let lost = this_year.because("laptop lost");
/// let ann = RecordFilter::all().key(RevocationKey::subject("https://id.example.com", "ann"));
/// # let _ = (lost, ann);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordFilter {
    key: Option<KeyDigest>,
    reason: Option<String>,
    since: Option<UnixTime>,
}

impl RecordFilter {
    /// Selects every revocation.
    pub fn all() -> Self {
        Self::default()
    }

    /// Selects only the revocation of one key.
    #[must_use]
    pub fn key(mut self, key: impl Into<RevocationKey>) -> Self {
        self.key = Some(key.into().digest());
        self
    }

    /// Selects only revocations with exactly this reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Selects only revocations made at or after a time.
    #[must_use]
    pub fn since(mut self, time: UnixTime) -> Self {
        self.since = Some(time);
        self
    }

    /// Returns the key that records must have, if any.
    pub fn only_key(&self) -> Option<&KeyDigest> {
        self.key.as_ref()
    }

    /// Returns the reason that records must have, if any.
    pub fn only_reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Returns the earliest time that records may have, if any.
    pub fn earliest(&self) -> Option<UnixTime> {
        self.since
    }

    /// Returns whether a record meets all conditions.
    pub fn wants(&self, record: &RevocationRecord) -> bool {
        self.key.is_none_or(|key| key == record.digest)
            && (self.reason.as_deref()).is_none_or(|reason| reason == record.reason)
            && self.since.is_none_or(|time| time <= record.at)
    }
}

/// One page of the records that a filter selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordPage {
    /// The records.
    pub records: Vec<RevocationRecord>,
    /// The cursor for the next page. `None` after the last.
    pub next: Option<Cursor>,
}

/// One revocation, with its author and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationRecord {
    /// The digest of the key.
    pub digest: KeyDigest,
    /// The key itself.
    ///
    /// `None` for a rule that was only written back by a node
    /// ([`ChangeFeed::restore`](super::ChangeFeed::restore)), which knows no more than the digest.
    /// It is always known for a token, whose digest is its id ([`KeyDigest::as_token`]).
    pub key: Option<RevocationKey>,
    /// How the key is listed by this revocation.
    pub listed: Listed,
    /// When the revocation was made. [`UnixTime::EPOCH`] if unknown.
    pub at: UnixTime,
    /// The person or program that made it. Empty if unknown.
    pub by: String,
    /// The reason. Empty if none was given.
    pub reason: String,
}

/// The last lift of a key, with its author and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiftRecord {
    /// When the lift was made; later than the revocation that it ended.
    pub at: UnixTime,
    /// The person or program that made it. Empty if unknown, as for a lift that a node wrote back
    /// ([`ChangeFeed::restore`](super::ChangeFeed::restore)).
    pub by: String,
    /// The reason. Empty if none was given.
    pub reason: String,
    /// Until when the store remembers it. `None` means for ever.
    pub until: Option<UnixTime>,
}

impl RevocationRecord {
    /// Returns the revocation as the store keeps it. `None` if only the digest is known.
    pub fn revocation(&self) -> Option<Revocation> {
        let revocation = match (self.key.clone()?, self.listed) {
            (
                key,
                Listed::Rule {
                    issued_at_or_before,
                    ..
                },
            ) => Revocation::rule(key, issued_at_or_before).ok()?,
            (RevocationKey::Token(token), listed) if listed.is_spent() => {
                Revocation::of_spent_token(token, None)
            }
            (RevocationKey::Token(token), _) => Revocation::of_token(token, None),
            (RevocationKey::Rule { .. }, _) => return None,
        };
        Some(
            revocation
                .retained(self.listed.until())
                .at(self.at)
                .by(self.by.clone())
                .because(self.reason.clone()),
        )
    }
}
