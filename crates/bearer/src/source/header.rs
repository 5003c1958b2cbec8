//! The token in the `Authorization` header (RFC 6750 §2.1).

use http::{HeaderMap, header::AUTHORIZATION};
use tower_revoke_core::{BearerToken, Rejection};

use super::{Found, ambiguous, mark_sensitive};

/// Reads the header, and marks it sensitive for all who come after.
pub(super) fn read(headers: &mut HeaderMap) -> Found {
    headers.get_mut(AUTHORIZATION)?.set_sensitive(true);
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?;
    if values.next().is_some() {
        mark_sensitive(headers, &AUTHORIZATION);
        return Some(Err(ambiguous("Authorization came more than once")));
    }
    let token = BearerToken::from_authorization(value).transpose()?;
    Some(token.map_err(Rejection::from))
}
