//! What operators ask of a store: who was revoked, by whom, and why.

use super::{Cursor, Listed, StoreError};
use crate::{BoxFuture, KeyDigest, Revocation, RevocationKey, UnixTime};

/// The revocations of a store with all that was said about them.
///
/// A port of its own, since no request waits for it, and a store may do without
/// ([`Store::records`](super::Store::records)). Uses that were taken are not in it.
pub trait Records: Send + Sync {
    /// One page of the revocations that are alive and wanted, in an order of the store's own that
    /// does not change between pages; at most `at_most` of them, at least one if there is one.
    /// What is revoked or lifted while somebody turns pages may be in them or not; everything else
    /// is in them once.
    ///
    /// # Errors
    /// As of [`Store::look_up`](super::Store::look_up); [`StoreError::ForeignCursor`] if `after`
    /// was not made by this store.
    fn page<'a>(
        &'a self,
        wanted: &'a RecordFilter,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>>;
}

/// Which revocations are wanted: those for which all that is said here is true.
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
    /// Every revocation.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only that of one key.
    #[must_use]
    pub fn key(mut self, key: impl Into<RevocationKey>) -> Self {
        self.key = Some(key.into().digest());
        self
    }

    /// Only those with exactly this reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Only those that were said at or after a time.
    #[must_use]
    pub fn since(mut self, time: UnixTime) -> Self {
        self.since = Some(time);
        self
    }

    /// The one key, if only that is wanted.
    pub fn only_key(&self) -> Option<&KeyDigest> {
        self.key.as_ref()
    }

    /// The one reason, if only that is wanted.
    pub fn only_reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The earliest time that is wanted.
    pub fn earliest(&self) -> Option<UnixTime> {
        self.since
    }

    /// Whether a record is wanted.
    pub fn wants(&self, record: &RevocationRecord) -> bool {
        self.key.is_none_or(|key| key == record.digest)
            && (self.reason.as_deref()).is_none_or(|reason| reason == record.reason)
            && self.since.is_none_or(|time| time <= record.at)
    }
}

/// Some of the revocations that are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordPage {
    /// The revocations.
    pub records: Vec<RevocationRecord>,
    /// From where to ask for the next page; `None` after the last.
    pub next: Option<Cursor>,
}

/// One revocation, with all that was said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationRecord {
    /// Under what it is listed.
    pub digest: KeyDigest,
    /// The same, readable; `None` of a rule that was only written back by a node
    /// ([`ChangeFeed::restore`](super::ChangeFeed::restore)), which knows no more than the digest. A token's
    /// is always there: its digest is its id ([`KeyDigest::as_token`]).
    pub key: Option<RevocationKey>,
    /// How it is listed: [`Listed::Revoked`] or [`Listed::Rule`].
    pub listed: Listed,
    /// When it was said; [`UnixTime::EPOCH`] if nobody knows.
    pub at: UnixTime,
    /// Who said it; empty if nobody knows.
    pub by: String,
    /// Why; empty if nothing was said.
    pub reason: String,
}

impl RevocationRecord {
    /// The revocation as the store keeps it; `None` where only the digest is known.
    pub fn revocation(&self) -> Option<Revocation> {
        let revocation = match (self.key.clone()?, self.listed) {
            (
                key,
                Listed::Rule {
                    issued_at_or_before,
                    ..
                },
            ) => Revocation::rule(key, issued_at_or_before).ok()?,
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
