//! What the cache keeps about a token, and how the store's listings make up its standing.

use std::time::Duration;

use tower_revoke_core::{Listed, Standing, StoreError, VerifiedToken};

#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) standing: Standing,
    /// `None` for what was not asked but done here: it is known, but does not count as an answer.
    pub(super) asked: Option<Asked>,
}

/// What was read before the store was asked, in this order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) at: Duration,
    pub(super) stamp: u64,
}

/// The worst that is known under any of the token's keys.
pub(super) fn judge(
    token: &VerifiedToken,
    listed: &[Option<Listed>],
) -> Result<Standing, StoreError> {
    if listed.len() != token.keys().len() {
        let error = "the store answered for another number of keys";
        return Err(StoreError::Unavailable(error.into()));
    }
    let mut standing = Standing::Good;
    for listed in listed.iter().flatten() {
        match listed {
            Listed::Rule {
                issued_at_or_before,
                ..
            } if !token.issued_at_or_before(*issued_at_or_before) => {}
            Listed::Spent { .. } => standing = Standing::Spent,
            // And whatever kind of listing is not known here.
            _ => return Ok(Standing::Revoked),
        }
    }
    Ok(standing)
}
