//! One call on its way: counted when it is dropped, wherever that happens.

use std::{sync::Arc, thread::panicking, time::Duration};

use http::Extensions;
use tower_revoke_core::{Authenticated, IdentitySlot};

use crate::{clients::Client, counters::Verdict, layer::Config};

/// Goes from the future into the body, and ends with whichever ends the call.
#[derive(Debug)]
pub(crate) struct InFlight {
    config: Arc<Config>,
    slot: IdentitySlot,
    started: Duration,
    who: Who,
    /// What it is counted as, if it ends now.
    verdict: Verdict,
}

#[derive(Debug)]
enum Who {
    NotKnownYet,
    Anonymous,
    Known(Arc<Client>),
}

impl InFlight {
    /// Counts one more call on its way, and asks who makes it.
    pub(crate) fn start(config: Arc<Config>, extensions: &mut Extensions) -> Self {
        let slot = match extensions.get::<IdentitySlot>() {
            // A monitor further out waits for the same answer.
            Some(slot) => slot.clone(),
            None => {
                let slot = IdentitySlot::default();
                // Inside of the bearer layer, nobody will fill it.
                if let Some(caller) = extensions.get::<Authenticated>() {
                    slot.fill(caller.clone());
                }
                extensions.insert(slot.clone());
                slot
            }
        };
        config.clients.anonymous.counters.enter();
        config.clients.series.enter();
        Self {
            started: config.monitor.clock().uptime(),
            config,
            slot,
            who: Who::NotKnownYet,
            verdict: Verdict::Cancelled,
        }
    }

    /// Finds the client, once the bearer layer has said who calls.
    pub(crate) fn find_client(&mut self) {
        if !matches!(self.who, Who::NotKnownYet) {
            return;
        }
        let Some(caller) = self.slot.get() else {
            return;
        };
        // Before the program's own rule, so that it is asked once, also if it panics.
        self.who = Who::Anonymous;
        let Some(name) = self.config.name_of(caller) else {
            return;
        };
        let client = self.config.clients.find(&name, self.started);
        client.counters.enter();
        self.config.clients.anonymous.counters.leave();
        self.who = Who::Known(client);
    }

    /// Says as what the call is counted when it ends. Until then its end means that its caller has
    /// left.
    pub(crate) fn judge(&mut self, verdict: Verdict) {
        self.verdict = verdict;
    }

    fn client(&self) -> &Client {
        match &self.who {
            Who::Known(client) => client,
            Who::NotKnownYet | Who::Anonymous => &self.config.clients.anonymous,
        }
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
            // Another task may have found out who calls since the last poll.
            counting.call.find_client();
        }
    }
}

/// Counts the call when it is dropped: also if the program's own rule over the client panics.
struct Counting<'a> {
    call: &'a mut InFlight,
    took: Duration,
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        let verdict = match self.call.verdict {
            Verdict::Cancelled if panicking() => Verdict::Exception,
            verdict => verdict,
        };
        let client = self.call.client();
        client.counters.count(verdict, self.took);
        client.counters.leave();
        client.series.count(verdict, self.took);
        self.call.config.clients.series.leave();
    }
}
