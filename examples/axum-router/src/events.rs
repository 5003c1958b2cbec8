//! Server-sent events, for as long as the caller's token is valid.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event, Sse},
};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tower_revoke::Authenticated;

use crate::app::App;

/// Sends the number of the caller's orders every second.
///
/// A call without an end outlives the check of its token. `TokenLifetimeLayer` ends the stream when the
/// token ends: the client reconnects, and the layers reject that call.
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
