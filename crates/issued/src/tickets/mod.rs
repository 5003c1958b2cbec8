//! One-time tickets that stand for a token.

mod issue;
mod row;
mod verifier;

use std::{fmt, sync::Arc, time::Duration};

use tower_revoke_core::{
    Authenticated, IssuedTokenStore, Revocations, Store, internal::issued_tokens_of,
};

pub use self::{issue::IssueTicket, verifier::TicketVerifier};
use crate::tokens::is_prefix;

/// Issues one-time tickets, which a browser puts into a URL in place of its token.
///
/// Browsers can't send an `Authorization` header when they open a WebSocket or an EventSource. A token
/// in the URL would leak into histories, logs and `Referer` headers, for as long as it is valid. A
/// ticket leaks there too, but is used by then: it is good for one request, within 30 seconds.
///
/// ```
/// use axum::{Router, extract::State, routing::{get, post}};
/// use tower_revoke_bearer::RequireBearerLayer;
/// use tower_revoke_core::{Authenticated, Rejection, TokenVerifier};
/// use tower_revoke_list::{MemoryStore, RevocationList};
/// use tower_revoke_issued::{Tickets, TicketsError};
///
/// # fn app(tokens: impl TokenVerifier, store: MemoryStore) -> Result<Router, TicketsError> {
/// let list = RevocationList::new(store.clone()); // which `tokens` are checked against, too
/// let tickets = Tickets::new("events", store, list)?;
///
/// let by_ticket = RequireBearerLayer::new(tickets.verifier()).query().scope("events");
/// let app = Router::new()
///     .route("/tickets", post(ticket))
///     .layer(RequireBearerLayer::new(tokens))
///     .merge(Router::new().route("/events", get(events)).layer(by_ticket))
///     .with_state(tickets);
/// # Ok(app)
/// # }
///
/// /// Returns a ticket for `new EventSource("/events?access_token=" + ticket)`.
/// async fn ticket(
///     State(tickets): State<Tickets>,
///     caller: Authenticated,
/// ) -> Result<String, Rejection> {
///     let ticket = tickets.issue(&caller).scope("events").await?;
///     Ok(ticket.as_str().to_owned())
/// }
///
/// async fn events(caller: Authenticated) { /* … */ }
/// ```
///
/// # What a ticket is
/// An opaque token of 256 random bits. Its SHA-256 is kept in the store, with the id, times and keys
/// of the token that it stands for, its *parent*, and some claims. To handlers it looks like the
/// parent, with the scopes and claims that [`issue`](Self::issue) gave it and no others.
///
/// # Guarantees
/// * **One request.** Of all requests with a ticket, on all nodes that share the store, one is passed
///   on.
/// * **All checks come first.** The `RequireBearerLayer` takes the use directly before it calls the
///   inner service, so that a request which it rejects, as for a missing scope, leaves the ticket as
///   it was. Put what a route requires into that layer: what is checked further in comes after the
///   use.
/// * **It ends with its parent.** Whatever revokes the parent, by token or by any rule, ends its
///   tickets, and what they have opened, if that ends with its token. The end of the ticket itself
///   ends nothing.
/// * **It is for one service**, the audience of `Tickets`: others that share the store reject it,
///   whatever their prefix. Nodes of one service have the same audience, and so have services that
///   accept each other's tickets.
/// * **It is nothing else.** A layer that accepts tickets accepts no tokens, unless both are in a
///   `VerifierSet`. No ticket is issued to a caller that came with one.
///
/// # What is not covered
/// * A ticket that is stolen before it is used, such as by a script in the page.
/// * A request that fails after its ticket was taken: the client needs another ticket.
/// * The number of tickets that a caller may have: put a rate limit on the route that issues them.
///
/// Clones share the settings.
#[derive(Clone)]
pub struct Tickets(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) store: Arc<dyn IssuedTokenStore>,
    pub(crate) list: Arc<dyn Revocations>,
    pub(crate) audience: String,
    pub(crate) prefix: String,
    pub(crate) redeem_timeout: Duration,
}

/// Configures [`Tickets`].
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use tower_revoke_list::{MemoryStore, RevocationList};
/// use tower_revoke_issued::Tickets;
///
/// let store = MemoryStore::new();
/// let list = RevocationList::new(store.clone());
/// let tickets = Tickets::builder("events", store, list)
///     .prefix("acme_tkt_")
///     .redeem_timeout(Duration::from_secs(10))
///     .build()?;
/// # Ok::<(), tower_revoke_issued::TicketsError>(())
/// ```
#[must_use = "there are no tickets until they are built"]
pub struct TicketsBuilder {
    store: Option<Arc<dyn IssuedTokenStore>>,
    list: Arc<dyn Revocations>,
    audience: String,
    prefix: String,
    redeem_timeout: Duration,
}

/// Why [`Tickets`] can't be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TicketsError {
    /// The store keeps no issued tokens.
    #[error("the store keeps no issued tokens")]
    Unsupported,
    /// The audience is empty.
    #[error("the audience is empty; it must name the service that accepts the tickets")]
    MissingAudience,
    /// The prefix is too long, or has characters that no bearer token may have.
    #[error(
        "the prefix {0:?} is not usable; it may have at most 32 letters, digits, `-`, `.`, `_` and `~`"
    )]
    Prefix(String),
    /// A ticket would not be good for a second, or for more than 5 minutes.
    #[error("the redeem timeout is {0:?}; it must be at least 1 s and at most 5 min")]
    RedeemTimeout(Duration),
}

const REDEEM_TIMEOUT: Duration = Duration::from_secs(30);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(300);

impl Tickets {
    /// Keeps the tickets of a service, named `audience`, in this store, which must keep issued tokens.
    /// `list` must be a list over it, and the one that the callers' tokens are checked against.
    ///
    /// # Errors
    /// [`TicketsError::Unsupported`] and [`TicketsError::MissingAudience`].
    pub fn new(
        audience: impl Into<String>,
        store: impl Store,
        list: impl Into<Arc<dyn Revocations>>,
    ) -> Result<Self, TicketsError> {
        Self::builder(audience, store, list).build()
    }

    /// Configures tickets in this store, as [`new`](Self::new).
    pub fn builder(
        audience: impl Into<String>,
        store: impl Store,
        list: impl Into<Arc<dyn Revocations>>,
    ) -> TicketsBuilder {
        TicketsBuilder {
            store: issued_tokens_of(store),
            list: list.into(),
            audience: audience.into(),
            prefix: "tkt_".to_owned(),
            redeem_timeout: REDEEM_TIMEOUT,
        }
    }

    /// Issues a ticket to a caller, once the result is awaited.
    ///
    /// The ticket has the issuer, subject, client, session and grant of the caller's token. It has only
    /// the scopes and claims that are set: what the holder of a URL may do is for the program to decide.
    pub fn issue<C>(&self, caller: &Authenticated<C>) -> IssueTicket {
        IssueTicket::new(self.clone(), caller.token().clone())
    }

    /// Returns the verifier of tickets, for a `RequireBearerLayer` with `.query()` or
    /// `.websocket_protocol(…)`.
    pub fn verifier(&self) -> TicketVerifier {
        TicketVerifier(self.clone())
    }

    /// Returns what every ticket begins with, for a `VerifierSet`.
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// Returns how long a ticket can be used.
    pub fn redeem_timeout(&self) -> Duration {
        self.0.redeem_timeout
    }
}

impl TicketsBuilder {
    /// Sets what every ticket begins with, so that secret scanners can find it. Defaults to `tkt_`.
    ///
    /// Tickets with another prefix are rejected.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long a ticket can be used, in whole seconds. Defaults to 30 s.
    ///
    /// What it has opened lives as long as the caller's token. The time is compared between the clock
    /// of the node that issues and that of the node that is asked, so it should be well above their
    /// difference.
    pub fn redeem_timeout(mut self, timeout: Duration) -> Self {
        self.redeem_timeout = timeout;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`TicketsError`] if one can't work.
    pub fn build(self) -> Result<Tickets, TicketsError> {
        if self.audience.is_empty() {
            return Err(TicketsError::MissingAudience);
        }
        if !is_prefix(&self.prefix) {
            return Err(TicketsError::Prefix(self.prefix));
        }
        if self.redeem_timeout.as_secs() == 0 || self.redeem_timeout > LONGEST_TIMEOUT {
            return Err(TicketsError::RedeemTimeout(self.redeem_timeout));
        }
        Ok(Tickets(Arc::new(Inner {
            store: self.store.ok_or(TicketsError::Unsupported)?,
            list: self.list,
            audience: self.audience,
            prefix: self.prefix,
            redeem_timeout: self.redeem_timeout,
        })))
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets")
            .field("audience", &self.0.audience)
            .field("prefix", &self.0.prefix)
            .field("redeem_timeout", &self.0.redeem_timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TicketsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketsBuilder")
            .field("audience", &self.audience)
            .field("prefix", &self.prefix)
            .field("redeem_timeout", &self.redeem_timeout)
            .finish_non_exhaustive()
    }
}
