//! What a customer does to their own tokens.

use axum::{extract::State, http::StatusCode};
use tower_revoke::{Authenticated, Reason, Rejection, Revocation};

use crate::app::App;

/// Ends every token of the caller's that was issued so far, on every node that shares the store.
/// When this has answered, they are rejected.
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
