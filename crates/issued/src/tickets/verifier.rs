//! The verifier of tickets.

use std::sync::Arc;

use tower_revoke_core::{
    Authenticated, BearerToken, Reason, Rejection, TokenHash, TokenVerifier,
    internal::checked_caller, retention::has_ended,
};

use super::{Tickets, row};
use crate::tokens::has_form;

/// Verifies tickets, for a `RequireBearerLayer`. Made by [`Tickets::verifier`].
///
/// What is checked, in order: the form of the ticket; that it was issued, for this service, and can
/// still be used; that the caller's token has not expired; and the revocation list, for the caller's token. Nothing is
/// cached. The use is taken by the layer, after its other checks.
#[derive(Clone, Debug)]
pub struct TicketVerifier(pub(super) Tickets);

impl TokenVerifier for TicketVerifier {
    async fn verify(&self, presented: &BearerToken) -> Result<Authenticated, Rejection> {
        let tickets = &self.0.0;
        if !has_form(presented, &tickets.prefix) {
            return Err(Reason::MalformedToken.into());
        }
        let row = tickets
            .store
            .find(&TokenHash::of(presented.as_bytes()))
            .await?;
        let row = row.ok_or(Reason::UnknownToken)?;
        let token = row::verified(&row).ok_or(Reason::WrongType)??;
        if !row.audience.contains(&tickets.audience) {
            return Err(Rejection::new(Reason::WrongAudience).token(token.id()));
        }
        let now = tickets.list.clock().now();
        if has_ended(row.expires_at, now) || has_ended(token.usable_until(), now) {
            return Err(Rejection::new(Reason::Expired).token(token.id()));
        }
        let token = token.with_revocations(Arc::clone(&tickets.list))?;
        checked_caller(Arc::new(token), Some(&tickets.list)).await
    }
}
