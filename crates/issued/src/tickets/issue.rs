//! A ticket that is being issued.

use std::{fmt, sync::Arc};

use serde_json::{Map, Value};
use tower_revoke_core::{BoxFuture, VerifiedToken};

use super::{Tickets, row};
use crate::{IssueError, OpaqueToken, new_token::check_scopes};

/// A ticket to be issued, which the store gets when this is awaited. Made by [`Tickets::issue`].
///
/// ```
/// use tower_revoke_core::Authenticated;
/// use tower_revoke_issued::{IssueError, OpaqueToken, Tickets};
///
/// async fn ticket(tickets: &Tickets, caller: &Authenticated) -> Result<OpaqueToken, IssueError> {
///     tickets.issue(caller).scope("events").claim("tenant").await
/// }
/// ```
#[must_use = "no ticket is issued until it is awaited"]
pub struct IssueTicket {
    tickets: Tickets,
    parent: Arc<VerifiedToken>,
    scopes: Vec<String>,
    claims: Map<String, Value>,
}

impl IssueTicket {
    pub(crate) fn new(tickets: Tickets, parent: Arc<VerifiedToken>) -> Self {
        Self {
            tickets,
            parent,
            scopes: Vec::new(),
            claims: Map::new(),
        }
    }

    /// Gives the ticket a scope, whether or not the caller's token has it.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// Copies a claim of the caller's token, if it has it.
    pub fn claim(mut self, name: &str) -> Self {
        if let Some(value) = self.parent.claims().get(name) {
            self.claims.insert(name.to_owned(), value.clone());
        }
        self
    }

    async fn issue(self) -> Result<OpaqueToken, IssueError> {
        // Whoever found one in a log would have tickets for as long as its parent lives.
        if self.parent.is_single_use() {
            return Err(IssueError::ForTicket);
        }
        check_scopes(&self.scopes)?;
        let tickets = &self.tickets.0;
        let ticket = OpaqueToken::draw(&tickets.prefix)?;
        let now = tickets.list.clock().now();
        let end = now.saturating_add(tickets.redeem_timeout);
        let row = row::of_ticket(
            ticket.hash(),
            &self.parent,
            self.claims,
            &self.scopes,
            now,
            end,
        );
        let mut row = row.map_err(IssueError::Claims)?;
        row.audience = vec![tickets.audience.clone()];
        tickets
            .store
            .insert(&row)
            .await
            .map_err(IssueError::Store)?;
        Ok(ticket)
    }
}

impl IntoFuture for IssueTicket {
    type Output = Result<OpaqueToken, IssueError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.issue())
    }
}

impl fmt::Debug for IssueTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssueTicket")
            .field("parent", &self.parent.id())
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}
