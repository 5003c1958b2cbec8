//! How a store's listings make up a token's standing.

use tower_revoke_core::{Listed, Standing, StoreError, VerifiedToken};

/// The worst that is known under any of the token's keys.
pub(crate) fn judge(
    token: &VerifiedToken,
    listed: &[Option<Listed>],
) -> Result<Standing, StoreError> {
    if listed.len() != token.keys().len() {
        let error = "the store answered for another number of keys";
        return Err(StoreError::Unavailable(error.into()));
    }
    let listed = listed.iter().flatten();
    Ok(listed.fold(Standing::Good, |standing, listed| {
        worse(token, standing, *listed)
    }))
}

/// What one more listing makes of a standing.
pub(crate) fn worse(token: &VerifiedToken, standing: Standing, listed: Listed) -> Standing {
    match listed {
        Listed::Rule {
            issued_at_or_before,
            ..
        } if !token.issued_at_or_before(issued_at_or_before) => standing,
        Listed::Spent { .. } if standing == Standing::Good => Standing::Spent,
        Listed::Spent { .. } => standing,
        // And whatever kind of listing is not known here.
        _ => Standing::Revoked,
    }
}
