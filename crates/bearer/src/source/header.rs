//! The token in the `Authorization` header (RFC 6750 §2.1).

use http::{HeaderMap, header::AUTHORIZATION};
use tower_revoke_core::{BearerToken, Rejection};

use super::{Found, ambiguous, mark_sensitive};

/// Reads the header, and marks it sensitive for all who come after.
pub(super) fn read(headers: &mut HeaderMap) -> Found {
    // No name stands twice in most requests, which need no second look-up.
    let has_repeated = headers.len() > headers.keys_len();
    if has_repeated && headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
        mark_sensitive(headers, &AUTHORIZATION);
        return Some(Err(ambiguous("Authorization came more than once")));
    }
    let value = headers.get_mut(AUTHORIZATION)?;
    value.set_sensitive(true);
    let token = BearerToken::presented_in(value).transpose()?;
    Some(token.map_err(Rejection::from))
}
