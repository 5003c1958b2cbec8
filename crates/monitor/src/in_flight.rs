//! One call in flight: counted when it is dropped, wherever that happens.

use std::{sync::Arc, thread::panicking, time::Duration};

use http::{HeaderMap, Request, StatusCode};
use tower_revoke_core::{
    Authenticated, IdentitySlot, Outcome, end::RequestShape, internal::observe_streams,
};

use crate::{
    Composite, Counted,
    call::{Call, Ended, MethodOf, announced},
    clients::Client,
    composite,
    counters::End,
    layer::Shared,
    methods::Bytes,
    scope::{Part, Scope},
    streams::OfRequest,
};

/// A call that moves from the future into the body, and ends with whichever is dropped last.
#[derive(Debug)]
pub(crate) struct InFlight {
    call: Call,
    started: Duration,
    /// Filled by the bearer layer. `None` once the caller was asked for.
    slot: Option<IdentitySlot>,
    has_begun: bool,
    /// As what it is counted if it ends now.
    end: End,
    composite: Option<Box<InComposite>>,
}

/// What a call is to composites.
#[derive(Debug)]
pub(crate) struct InComposite {
    /// Of the composite that it belongs to.
    part: Option<Part>,
    /// The composite whose own call it is.
    scope: Option<Arc<Scope>>,
    /// Whether it is counted besides.
    is_counted: bool,
}

impl InFlight {
    /// Begins a call, and puts a slot for its caller into the request.
    pub(crate) fn start<B>(
        shared: Arc<Shared>,
        shape: RequestShape,
        request: &mut Request<B>,
        composite: Option<Box<InComposite>>,
    ) -> Self {
        let mut call = Self {
            started: shared.monitor.clock().uptime(),
            slot: None,
            has_begun: false,
            end: Outcome::Cancelled.into(),
            composite,
            call: Call {
                client: None,
                method: MethodOf::of(&shared, shape, request),
                bytes: Bytes {
                    incoming: announced(request.method(), request.headers()),
                    outgoing: 0,
                },
                shared,
            },
        };
        let shared = &call.call.shared;
        // Left when the call is dropped, so not before there is one: the rule over routes may panic.
        shared.context.clients.series.enter();
        let extensions = request.extensions_mut();
        if !shared.monitor.counts(Counted::Clients) {
            observe_streams(extensions, shared.clone());
            call.attribute_to(shared.context.clients.other.clone());
            return call;
        }
        if let Some(name) = shared.client_of_request(extensions) {
            let clients = &shared.context.clients;
            let client = name.map(|name| clients.find(&name, call.started));
            let of_request = OfRequest {
                context: shared.context.clone(),
                client: client.as_ref().unwrap_or(&clients.anonymous).clone(),
            };
            observe_streams(extensions, Arc::new(of_request));
            client
                .into_iter()
                .for_each(|client| call.attribute_to(client));
            return call;
        }
        // A monitor further out may have put the slot there for the same answer.
        let slot = observe_streams(extensions, shared.clone());
        match extensions.get::<Authenticated>() {
            // Inside of the bearer layer.
            Some(caller) => call.attribute(caller),
            None => call.slot = Some(slot),
        }
        call
    }

    /// Begins a call that is not counted, but is a part of a composite.
    pub(crate) fn uncounted(shared: Arc<Shared>, composite: Box<InComposite>) -> Self {
        Self {
            started: Duration::ZERO,
            slot: None,
            has_begun: true,
            end: Outcome::Cancelled.into(),
            composite: Some(composite),
            call: Call {
                client: None,
                method: MethodOf::Other,
                bytes: Bytes::default(),
                shared,
            },
        }
    }

    /// Counts one more call in flight, of its client if that is known by now.
    pub(crate) fn begin(&mut self) {
        self.find_client();
        self.begin_anonymous();
    }

    fn begin_anonymous(&mut self) {
        if !self.has_begun {
            self.call.shared.context.clients.anonymous.counters.begin();
            self.has_begun = true;
        }
    }

    /// Attributes the call to its client, once the bearer layer has said who calls.
    #[inline]
    pub(crate) fn find_client(&mut self) {
        if self.slot.as_ref().is_some_and(IdentitySlot::is_filled) {
            self.ask_slot();
        }
    }

    fn ask_slot(&mut self) {
        // Taken before the program's own rule runs, so that it runs once, even if it panics.
        let slot = self.slot.take();
        if let Some(caller) = slot.as_ref().and_then(IdentitySlot::get) {
            self.attribute(caller);
        } else if let Some(id) = slot.as_ref().and_then(IdentitySlot::client) {
            let client = self.call.shared.client_without_token(id, self.started);
            client.into_iter().for_each(|it| self.attribute_to(it));
        }
    }

    fn attribute(&mut self, caller: &Authenticated) {
        if let Some(client) = self.call.shared.client_of(caller, self.started) {
            self.attribute_to(client);
        }
    }

    fn attribute_to(&mut self, client: Arc<Client>) {
        client.counters.begin();
        if self.has_begun {
            self.call
                .shared
                .context
                .clients
                .anonymous
                .counters
                .end_elsewhere();
        }
        self.has_begun = true;
        self.call.client = Some(client);
    }

    /// Adds a method that was not counted before, if this head shows that the service knows it.
    pub(crate) fn find_method(
        &mut self,
        shape: RequestShape,
        status: StatusCode,
        headers: &HeaderMap,
        is_rejected: bool,
    ) {
        let MethodOf::New(name) = &self.call.method else {
            return;
        };
        if !is_rejected && name.is_known_by(shape, status, headers) {
            let method = self.call.shared.context.methods.add((**name).clone());
            let named = || ((**name).clone(), method.clone());
            self.call.shared.method.get_or_init(named);
            self.call.method = MethodOf::Known(method);
        }
    }

    /// Sets as what the call is counted when it ends. Until this is called, an end means that the
    /// client has left.
    pub(crate) fn end_as(&mut self, end: End) {
        self.end = end;
    }

    /// Adds bytes of the response.
    pub(crate) fn add_bytes(&mut self, bytes: u64) {
        self.call.bytes.outgoing += bytes;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let now = self.call.shared.monitor.clock().uptime();
        let counting = Counting { now, call: self };
        if !panicking() {
            // Another task may have filled the slot since the last poll.
            counting.call.find_client();
        }
    }
}

/// Counts the call when it is dropped, even if the program's own rule over the client panics.
struct Counting<'a> {
    call: &'a mut InFlight,
    now: Duration,
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        let Self { call, now } = self;
        let end = match call.end.outcome {
            Outcome::Cancelled if panicking() => Outcome::Exception.into(),
            _ => call.end,
        };
        // It has not begun if the service panicked in `call`.
        call.begin_anonymous();
        let took = now.saturating_sub(call.started);
        match call.composite.take() {
            None => call.call.count(end, took, *now),
            Some(composite) => composite.end(&mut call.call, end, took, *now),
        }
    }
}

impl InComposite {
    /// Makes the call of this request a part of the composite that it belongs to, and begins a composite
    /// if it is the layer of one.
    pub(crate) fn enter<B>(
        shared: &Shared,
        is_counted: bool,
        request: &mut Request<B>,
    ) -> Option<Box<Self>> {
        let extensions = request.extensions_mut();
        let is_composite = shared.counted == Counted::Composites;
        if is_composite && !is_counted {
            // Handlers extract it all the same.
            extensions.get_or_insert_default::<Composite>();
            return None;
        }
        let part = composite::join(extensions);
        let scope = is_composite.then(|| {
            let scope = Scope::new(shared.monitor.clone(), shared.context.clone());
            extensions.insert(Composite::of(scope.clone()));
            scope
        });
        let is_any = part.is_some() || scope.is_some();
        is_any.then(|| {
            Box::new(Self {
                part,
                scope,
                is_counted,
            })
        })
    }

    fn end(self, call: &mut Call, end: End, took: Duration, now: Duration) {
        let Self {
            part,
            scope,
            is_counted,
        } = self;
        if let Some(scope) = scope {
            let call = Call {
                shared: call.shared.clone(),
                client: call.client.take(),
                method: std::mem::replace(&mut call.method, MethodOf::Other),
                bytes: call.bytes,
            };
            return scope.end_own(Ended { call, end, took }, part);
        }
        if is_counted {
            call.count(end, took, now);
        }
        if let Some(part) = part {
            part.end(end.outcome);
        }
    }
}
