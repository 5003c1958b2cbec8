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
    has_begun: bool,
    has_asked: bool,
    /// `None`: anonymous, at least so far.
    client: Option<Arc<Client>>,
    /// What it is counted as, if it ends now.
    verdict: Verdict,
}

impl InFlight {
    /// Puts the question who calls into the request.
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
        config.clients.series.enter();
        Self {
            started: config.monitor.clock().uptime(),
            config,
            slot,
            has_begun: false,
            has_asked: false,
            client: None,
            verdict: Verdict::Cancelled,
        }
    }

    /// Counts one more call on its way. Its client may be known by now, and need not be counted
    /// from anonymous.
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

    /// Finds the client, once the bearer layer has said who calls.
    pub(crate) fn find_client(&mut self) {
        if self.has_asked {
            return;
        }
        let Some(caller) = self.slot.get() else {
            return;
        };
        // Before the program's own rule, so that it is asked once, also if it panics.
        self.has_asked = true;
        let Some(client) = self.config.client_of(caller, self.started) else {
            return;
        };
        client.counters.begin();
        if self.has_begun {
            self.config.clients.anonymous.counters.give_away();
        }
        self.has_begun = true;
        self.client = Some(client);
    }

    /// Says as what the call is counted when it ends. Until then its end means that its caller has
    /// left.
    pub(crate) fn judge(&mut self, verdict: Verdict) {
        self.verdict = verdict;
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
        // A service may panic when it is called.
        self.call.begin_anonymous();
        let clients = &self.call.config.clients;
        let client = self.call.client.as_ref().unwrap_or(&clients.anonymous);
        client.counters.count(verdict, self.took);
        client.series.count(verdict, self.took);
        clients.series.leave();
    }
}
