//! How a store's listings make up a token's status.

use tower_revoke_core::{Listed, StoreError, TokenStatus, VerifiedToken};

/// The worst that is known under any of the token's keys.
pub(crate) fn judge(
    token: &VerifiedToken,
    listed: &[Option<Listed>],
) -> Result<TokenStatus, StoreError> {
    if listed.len() != token.keys().len() {
        let error = "the store answered for another number of keys";
        return Err(StoreError::Unavailable(error.into()));
    }
    let listed = listed.iter().flatten();
    Ok(listed.fold(TokenStatus::Valid, |status, listed| {
        worse(token, status, *listed)
    }))
}

/// What one more listing makes of a status.
pub(crate) fn worse(token: &VerifiedToken, status: TokenStatus, listed: Listed) -> TokenStatus {
    match listed {
        Listed::Rule {
            issued_at_or_before,
            ..
        } if !token.issued_at_or_before(issued_at_or_before) => status,
        Listed::Spent { .. } if status == TokenStatus::Valid => TokenStatus::Spent,
        Listed::Spent { .. } => status,
        // And whatever kind of listing is not known here.
        _ => TokenStatus::Revoked,
    }
}
