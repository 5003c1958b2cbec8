//! The token in the `Authorization` header (RFC 6750 §2.1).

use http::{HeaderMap, header::AUTHORIZATION};
use tower_revoke_core::{BearerToken, Rejection, internal::read_unchecked};

use super::{ambiguous, mark_sensitive};

/// Reads the header, and marks it sensitive for inner services.
pub(super) fn read(headers: &mut HeaderMap) -> Result<Option<BearerToken>, Rejection> {
    // No name stands twice in most requests, which need no second look-up.
    let has_repeated = headers.len() > headers.keys_len();
    if has_repeated && headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
        mark_sensitive(headers, &AUTHORIZATION);
        return Err(ambiguous("Authorization came more than once"));
    }
    let Some(value) = headers.get_mut(AUTHORIZATION) else {
        return Ok(None);
    };
    value.set_sensitive(true);
    Ok(read_unchecked(value)?)
}
