//! Rows of the table of uses.

use scylla::DeserializeRow;
use tower_revoke_core::{
    Listed, UnixTime, Use,
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

/// The same row in a scan.
#[derive(DeserializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
pub(crate) struct UsesRow {
    pub(crate) digest: Vec<u8>,
    pub(crate) max_uses: Option<i64>,
    pub(crate) held: Option<i64>,
    pub(crate) version: Option<i64>,
    pub(crate) until: Option<i64>,
}

impl Uses {
    pub(crate) fn are_all_held(&self, use_: &Use) -> bool {
        self.held.unwrap_or(0) >= i64::from(use_.limit.get())
    }
}

/// `Some` if all uses are taken.
pub(crate) fn spent(
    max_uses: Option<i64>,
    held: Option<i64>,
    until: Option<i64>,
) -> Option<Listed> {
    let is_spent = max_uses.zip(held).is_some_and(|(max, held)| held >= max);
    is_spent.then(|| Listed::Spent {
        until: until.map(time),
    })
}

/// Whether the uses of a token expired before a time.
pub(crate) fn ended(until: Option<i64>, before: UnixTime) -> bool {
    until.is_some_and(|until| until < secs(before))
}
