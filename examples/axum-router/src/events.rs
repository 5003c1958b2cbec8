//! Server-sent events, for as long as the caller's token is valid.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event, Sse},
};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tower_revoke::{
    Authenticated, Clock,
    core::{TokenStatus, retention::has_ended},
};

use crate::app::App;

/// Sends the number of the caller's orders every second.
///
/// Layers check a token once, when the call begins, so a call without an end has to check it again
/// before each event. The list usually answers from memory. When the token has ended, the stream
/// ends: the client reconnects, and the layers reject that call.
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
    if !is_still_good(&app, &caller).await {
        return None;
    }
    let orders = app.orders.of(caller.subject()?).len();
    let event = Event::default().event("orders").data(orders.to_string());
    Some((Ok(event), (app, caller, seconds)))
}

/// Returns whether the token is still valid; `false` if the list is unavailable.
async fn is_still_good(app: &App, caller: &Authenticated) -> bool {
    let token = caller.token();
    !has_ended(token.usable_until(), Clock::system().now())
        && matches!(app.list.status(token).await, Ok(TokenStatus::Valid))
}
