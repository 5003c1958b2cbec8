//! What customers can do with their own tokens.

use axum::{extract::State, http::StatusCode};
use tower_revoke::{Authenticated, Reason, Rejection, Revocation};

use crate::app::App;

/// Revokes all tokens of the caller that were issued so far, on every node that shares the store.
/// They are rejected by the time it has responded.
pub(crate) async fn log_out_everywhere(
    State(app): State<App>,
    caller: Authenticated,
) -> Result<StatusCode, Rejection> {
    let all_of_theirs = caller.subject_key().ok_or(Reason::MissingClaim)?;
    let rule = Revocation::all_of(all_of_theirs)?
        .by(caller.subject().unwrap_or_default())
        .because("logged out everywhere");
    app.list.revoke(rule).await?;
    Ok(StatusCode::NO_CONTENT)
}
