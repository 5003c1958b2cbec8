//! A node that issues opaque tokens and tickets itself, which lie in its store.

use std::convert::Infallible;

use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tower_revoke::{
    Authenticated, IssuedTokens, NewToken, OpaqueTokenVerifier, Rejection, RequireBearerLayer,
    RevocationEndpoint, RevocationList, Tickets, TokenLifetimeLayer,
    core::{BoxError, Store},
};

use crate::node::{ISSUER, clients, log_out};

/// Longer than any test takes.
const LIFE: std::time::Duration = std::time::Duration::from_secs(3_600);

/// Returns the routes, all of which begin with `/issued`. `list` is a list over `store`.
///
/// | route | does |
/// |---|---|
/// | `POST /issued/access`, `POST /issued/refresh` | issues a token of the client and the grant that the body names |
/// | `GET /issued/orders` | is for access tokens |
/// | `POST /issued/log-out` | revokes the presented access token |
/// | `POST /issued/revoke` | is a revocation endpoint for the [clients of the node](crate::node::CLIENTS) |
/// | `POST /issued/tickets` | issues a ticket for an access token |
/// | `GET /issued/events` | opens a stream by a ticket in the query |
///
/// # Errors
/// If the store keeps no issued tokens.
pub fn router(list: RevocationList, store: impl Store + Clone) -> Result<Router, BoxError> {
    let clients = clients()?;
    let issued = IssuedTokens::builder(ISSUER, store.clone()).build()?;
    let revoke = RevocationEndpoint::new(list.clone(), clients).resolver(issued.clone());
    let tokens = OpaqueTokenVerifier::builder(issued.clone()).any_audience();
    let tokens = tokens.revocations(list.clone()).build()?;
    let tickets = Tickets::new("events", store, list.clone())?;
    let by_ticket = RequireBearerLayer::new(tickets.verifier()).query();
    let events = Router::new()
        .route("/issued/events", get(events))
        .layer(TokenLifetimeLayer::new())
        .layer(by_ticket);
    Ok(Router::new()
        .route("/issued/orders", get(async || "some orders"))
        .route("/issued/log-out", post(log_out))
        .route("/issued/tickets", post(ticket))
        .layer(RequireBearerLayer::new(tokens))
        .route("/issued/access", post(access))
        .route("/issued/refresh", post(refresh))
        .layer(Extension(list))
        .layer(Extension(tickets))
        .with_state(issued)
        .merge(events)
        .route_service("/issued/revoke", revoke))
}

async fn access(State(issued): State<IssuedTokens>, body: String) -> Result<String, Rejection> {
    issue(&issued, &body, NewToken::access).await
}

async fn refresh(State(issued): State<IssuedTokens>, body: String) -> Result<String, Rejection> {
    issue(&issued, &body, NewToken::refresh).await
}

async fn issue(
    issued: &IssuedTokens,
    body: &str,
    new: fn(String, std::time::Duration) -> NewToken,
) -> Result<String, Rejection> {
    let (client, grant) = body.split_once(' ').unwrap_or_default();
    let new = new(client.to_owned(), LIFE).subject("ann").grant(grant);
    Ok(issued.issue(new).await?.as_str().to_owned())
}

async fn ticket(
    Extension(tickets): Extension<Tickets>,
    caller: Authenticated,
) -> Result<String, Rejection> {
    Ok(tickets.issue(&caller).await?.as_str().to_owned())
}

/// Responds with one chunk, and goes on until somebody ends it.
async fn events() -> Body {
    let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"begun"))]);
    Body::from_stream(first.chain(stream::pending()))
}
