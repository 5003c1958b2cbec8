//! Server-sent events, for as long as the caller's token is valid.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::header::CACHE_CONTROL,
    response::{
        IntoResponse,
        sse::{Event, Sse},
    },
    routing::{MethodRouter, get},
};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tower::ServiceBuilder;
use tower_revoke::{Authenticated, Rejection, RequireBearerLayer, TokenLifetimeLayer};

use crate::app::App;

/// Accepts nothing but a ticket, for `new EventSource("/events?access_token=" + ticket)`: browsers send
/// no `Authorization` header with it, and a token in the URL would leak.
pub(crate) fn by_ticket(app: &App) -> MethodRouter<App> {
    // All that the route requires is in the layer, which takes the use of the ticket last.
    let tickets = RequireBearerLayer::new(app.tickets.verifier());
    get(stream).layer(
        ServiceBuilder::new()
            .layer(tickets.query().scope("events"))
            .layer(TokenLifetimeLayer::new()),
    )
}

/// Returns a ticket, which opens the events once, within 30 seconds.
pub(crate) async fn ticket(
    State(app): State<App>,
    caller: Authenticated,
) -> Result<impl IntoResponse, Rejection> {
    let ticket = app.tickets.issue(&caller).scope("events").await?;
    Ok(([(CACHE_CONTROL, "no-store")], ticket.as_str().to_owned()))
}

/// Sends the number of the caller's orders every second.
///
/// A call without an end outlives the check of its token. `TokenLifetimeLayer` ends the stream when the
/// token ends: the client reconnects, and the layers reject that call.
/// What a ticket has opened ends with the token that the ticket stands for.
pub(crate) async fn stream(
    State(app): State<App>,
    caller: Authenticated,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    // An endless stream would delay the shutdown.
    let stopping = app.stopping.clone().cancelled_owned();
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Sse::new(stream::unfold((app, caller, seconds), next).take_until(stopping))
}

type Listener = (App, Authenticated, Interval);

async fn next(
    (app, caller, mut seconds): Listener,
) -> Option<(Result<Event, Infallible>, Listener)> {
    seconds.tick().await;
    let orders = app.orders.of(caller.subject()?).len();
    let event = Event::default().event("orders").data(orders.to_string());
    Some((Ok(event), (app, caller, seconds)))
}
