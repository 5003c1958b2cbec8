//! Rows of the table of uses.

use scylla::DeserializeRow;
use tower_revoke_core::{
    UnixTime, Use,
    internal::signed_time::{secs, time},
};

/// The state of a token's uses.
#[derive(Clone, Debug, Default, DeserializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
pub(crate) struct Uses {
    pub(crate) max_uses: Option<i64>,
    pub(crate) held: Option<i64>,
    pub(crate) holder: Option<Vec<u8>>,
    pub(crate) version: Option<i64>,
    pub(crate) until: Option<i64>,
}

/// The same row when those of several tokens are read.
#[derive(DeserializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
pub(crate) struct UsesRow {
    pub(crate) digest: Vec<u8>,
    pub(crate) max_uses: Option<i64>,
    held: Option<i64>,
    pub(crate) version: Option<i64>,
    until: Option<i64>,
}

impl Uses {
    pub(crate) fn are_all_held(&self, use_: &Use) -> bool {
        self.held.unwrap_or(0) >= i64::from(use_.limit.get())
    }
}

impl UsesRow {
    /// `Some` with until when the uses are kept, if all are taken.
    pub(crate) fn used_up(&self) -> Option<Option<UnixTime>> {
        let is_used_up = self.max_uses.zip(self.held);
        let is_used_up = is_used_up.is_some_and(|(max, held)| held >= max);
        is_used_up.then(|| self.until.map(time))
    }

    /// Whether the uses expired before a time.
    pub(crate) fn ended(&self, before: UnixTime) -> bool {
        self.until.is_some_and(|until| until < secs(before))
    }
}
