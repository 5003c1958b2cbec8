//! Computes the status of a token from the listings under its keys.

use tower_revoke_core::{Listed, StoreError, TokenStatus, VerifiedToken};

/// Returns the most severe status of the token under any of its keys.
pub(crate) fn status_of(
    token: &VerifiedToken,
    listed: &[Option<Listed>],
) -> Result<TokenStatus, StoreError> {
    if listed.len() != token.keys().len() {
        let error = "the store answered for another number of keys";
        return Err(StoreError::Unavailable(error.into()));
    }
    let listed = listed.iter().flatten();
    Ok(listed.fold(TokenStatus::Valid, |status, listed| {
        or_worse(token, status, *listed)
    }))
}

/// Returns the more severe of a status and that of one more listing.
pub(crate) fn or_worse(token: &VerifiedToken, status: TokenStatus, listed: Listed) -> TokenStatus {
    match listed {
        Listed::Rule {
            issued_at_or_before,
            ..
        } if !token.issued_at_or_before(issued_at_or_before) => status,
        Listed::Spent { .. } if status == TokenStatus::Valid => TokenStatus::Spent,
        Listed::Spent { .. } => status,
        // A kind of listing that this version doesn't know fails closed.
        _ => TokenStatus::Revoked,
    }
}
