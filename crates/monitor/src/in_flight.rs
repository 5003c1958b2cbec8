//! One call in flight: counted when it is dropped, wherever that happens.

use std::{sync::Arc, thread::panicking, time::Duration};

use http::Extensions;
use tower_revoke_core::{Authenticated, IdentitySlot, Outcome};

use crate::{clients::Client, counters::End, layer::Config};

/// A call that moves from the future into the body, and ends with whichever is dropped last.
#[derive(Debug)]
pub(crate) struct InFlight {
    config: Arc<Config>,
    started: Duration,
    /// Filled by the bearer layer. `None` once the caller was asked for.
    slot: Option<IdentitySlot>,
    has_begun: bool,
    /// `None`: anonymous, at least so far.
    client: Option<Arc<Client>>,
    /// As what it is counted if it ends now.
    end: End,
}

impl InFlight {
    /// Begins a call, and puts a slot for its caller into the request.
    pub(crate) fn start(config: Arc<Config>, extensions: &mut Extensions) -> Self {
        config.clients.series.enter();
        let mut call = Self {
            started: config.monitor.clock().uptime(),
            config,
            slot: None,
            has_begun: false,
            client: None,
            end: Outcome::Cancelled.into(),
        };
        if let Some(caller) = extensions.get::<Authenticated>() {
            // Inside of the bearer layer.
            call.attribute(caller);
        } else if let Some(slot) = extensions.get::<IdentitySlot>() {
            // A monitor further out has put it there for the same answer.
            call.slot = Some(slot.clone());
        } else {
            let slot = IdentitySlot::default();
            extensions.insert(slot.clone());
            call.slot = Some(slot);
        }
        call
    }

    /// Counts one more call in flight, of its client if that is known by now.
    pub(crate) fn begin(&mut self) {
        self.find_client();
        self.begin_anonymous();
    }

    fn begin_anonymous(&mut self) {
        if !self.has_begun {
            self.config.clients.anonymous.counters.begin();
            self.has_begun = true;
        }
    }

    /// Attributes the call to its client, once the bearer layer has said who calls.
    pub(crate) fn find_client(&mut self) {
        if self.slot.as_ref().is_some_and(|slot| slot.get().is_some())
            // Taken before the program's own rule runs, so that it runs once, even if it panics.
            && let Some(slot) = self.slot.take()
            && let Some(caller) = slot.get()
        {
            self.attribute(caller);
        }
    }

    fn attribute(&mut self, caller: &Authenticated) {
        let Some(client) = self.config.client_of(caller, self.started) else {
            return;
        };
        client.counters.begin();
        if self.has_begun {
            self.config.clients.anonymous.counters.end_elsewhere();
        }
        self.has_begun = true;
        self.client = Some(client);
    }

    /// Sets as what the call is counted when it ends. Until this is called, an end means that the
    /// client has left.
    pub(crate) fn end_as(&mut self, end: End) {
        self.end = end;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let now = self.config.monitor.clock().uptime();
        let counting = Counting {
            took: now.saturating_sub(self.started),
            call: self,
        };
        if !panicking() {
            // Another task may have filled the slot since the last poll.
            counting.call.find_client();
        }
    }
}

/// Counts the call when it is dropped, even if the program's own rule over the client panics.
struct Counting<'a> {
    call: &'a mut InFlight,
    took: Duration,
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        let end = match self.call.end.outcome {
            Outcome::Cancelled if panicking() => Outcome::Exception.into(),
            _ => self.call.end,
        };
        // It has not begun if the service panicked in `call`.
        self.call.begin_anonymous();
        let clients = &self.call.config.clients;
        let client = self.call.client.as_ref().unwrap_or(&clients.anonymous);
        client.counters.count(end, self.took);
        client.series.count(end, self.took);
        clients.series.leave();
    }
}
