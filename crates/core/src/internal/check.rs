//! What verifiers of all kinds of tokens check alike: times, and the revocation list.

use std::{ops::Range, sync::Arc, time::Duration};

use crate::{Authenticated, Claims, Reason, Rejection, Revocations, TokenStatus, VerifiedToken};

/// Returns the seconds within which the claims are valid. An `iat` in the future counts like `nbf`:
/// such a token would escape a rule that revokes all tokens issued before now.
pub fn window(claims: &Claims, leeway: Duration) -> Range<u64> {
    let start = claims.not_before().max(claims.issued_at());
    let start = start.map_or(0, |start| start.saturating_sub(leeway).as_secs());
    let end = claims.expires_at();
    let end = end.map_or(u64::MAX, |end| end.saturating_add(leeway).as_secs());
    start..end
}

/// Returns the status of a token, if it is known without waiting. Without a list every token is
/// valid.
pub fn known_status(
    token: &VerifiedToken,
    list: Option<&Arc<dyn Revocations>>,
) -> Option<TokenStatus> {
    match list {
        Some(list) => list.known_status(token),
        None => Some(TokenStatus::Valid),
    }
}

/// Returns the caller of a verified token, unless the list rejects the token.
pub async fn checked_caller(
    token: Arc<VerifiedToken>,
    list: Option<&Arc<dyn Revocations>>,
) -> Result<Authenticated, Rejection> {
    let status = match (known_status(&token, list), list) {
        (Some(status), _) => status,
        (None, Some(list)) => list
            .status(&token)
            .await
            .map_err(|error| Rejection::list_unavailable(&token, error))?,
        (None, None) => TokenStatus::Valid,
    };
    caller(token, status)
}

/// Returns the caller of a verified token of this status.
///
/// # Errors
/// If the token is revoked or spent.
pub fn caller(token: Arc<VerifiedToken>, status: TokenStatus) -> Result<Authenticated, Rejection> {
    let reason = match status {
        TokenStatus::Valid => return Ok(Authenticated::new(token)),
        TokenStatus::Revoked => Reason::Revoked,
        TokenStatus::Spent => Reason::Spent,
    };
    Err(Rejection::listed(&token, reason))
}
