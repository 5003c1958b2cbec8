//! One call in flight: counted when it is dropped, wherever that happens.

use std::{sync::Arc, thread::panicking, time::Duration};

use http::{HeaderMap, Method as Verb, Request, StatusCode, header};
use tower_revoke_core::{Authenticated, IdentitySlot, Outcome, end::RequestShape};

use crate::{
    Counted,
    clients::Client,
    counters::End,
    layer::Shared,
    methods::{Asked, Bytes, Method, Name},
};

/// A call that moves from the future into the body, and ends with whichever is dropped last.
#[derive(Debug)]
pub(crate) struct InFlight {
    shared: Arc<Shared>,
    started: Duration,
    /// Filled by the bearer layer. `None` once the caller was asked for.
    slot: Option<IdentitySlot>,
    has_begun: bool,
    /// `None`: anonymous, at least so far.
    client: Option<Arc<Client>>,
    method: MethodOf,
    bytes: Bytes,
    /// As what it is counted if it ends now.
    end: End,
}

#[derive(Debug)]
enum MethodOf {
    /// The one that the clones of this service share.
    First,
    Known(Arc<Method>),
    /// Counted by itself if the response shows that the service knows it.
    New(Box<Name>),
    Other,
}

impl InFlight {
    /// Begins a call, and puts a slot for its caller into the request.
    pub(crate) fn start<B>(
        shared: Arc<Shared>,
        shape: RequestShape,
        request: &mut Request<B>,
    ) -> Self {
        let mut call = Self {
            started: shared.monitor.clock().uptime(),
            slot: None,
            has_begun: false,
            client: None,
            method: MethodOf::of(&shared, shape, request),
            bytes: Bytes {
                incoming: announced(request.method(), request.headers()),
                outgoing: 0,
            },
            end: Outcome::Cancelled.into(),
            shared,
        };
        // Left when the call is dropped, so not before there is one: the rule over routes may panic.
        call.shared.context.clients.series.enter();
        if !call.shared.monitor.counts(Counted::Clients) {
            call.attribute_to(call.shared.context.clients.other.clone());
            return call;
        }
        if let Some(name) = call.shared.client_of_request(request.extensions()) {
            let client = name.map(|name| call.shared.context.clients.find(&name, call.started));
            client
                .into_iter()
                .for_each(|client| call.attribute_to(client));
            return call;
        }
        let extensions = request.extensions_mut();
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
            self.shared.context.clients.anonymous.counters.begin();
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
        if let Some(client) = self.shared.client_of(caller, self.started) {
            self.attribute_to(client);
        }
    }

    fn attribute_to(&mut self, client: Arc<Client>) {
        client.counters.begin();
        if self.has_begun {
            self.shared
                .context
                .clients
                .anonymous
                .counters
                .end_elsewhere();
        }
        self.has_begun = true;
        self.client = Some(client);
    }

    /// Adds a method that was not counted before, if this head shows that the service knows it.
    pub(crate) fn find_method(
        &mut self,
        shape: RequestShape,
        status: StatusCode,
        headers: &HeaderMap,
        is_rejected: bool,
    ) {
        let MethodOf::New(name) = &self.method else {
            return;
        };
        if !is_rejected && name.is_known_by(shape, status, headers) {
            let method = self.shared.context.methods.add((**name).clone());
            let named = || ((**name).clone(), method.clone());
            self.shared.method.get_or_init(named);
            self.method = MethodOf::Known(method);
        }
    }

    /// Sets as what the call is counted when it ends. Until this is called, an end means that the
    /// client has left.
    pub(crate) fn end_as(&mut self, end: End) {
        self.end = end;
    }

    /// Adds bytes of the response.
    pub(crate) fn add_bytes(&mut self, bytes: u64) {
        self.bytes.outgoing += bytes;
    }
}

/// The largest length that is believed: 1 TiB. A few calls that announce more than they send would
/// overflow the counters.
const MOST_ANNOUNCED: u64 = 1 << 40;

/// Returns the announced length of a request's body.
fn announced(verb: &Verb, headers: &HeaderMap) -> u64 {
    if matches!(*verb, Verb::GET | Verb::HEAD) {
        return 0;
    }
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or(0).min(MOST_ANNOUNCED)
}

impl MethodOf {
    fn of<B>(shared: &Shared, shape: RequestShape, request: &Request<B>) -> Self {
        if !shared.monitor.counts(Counted::Methods) {
            return Self::Other;
        }
        let asked = match shape.is_grpc() {
            true => Asked::grpc(request.uri().path()),
            false => {
                let route = shared.route_of(request.extensions()).unwrap_or_default();
                Asked::http(request.method(), route)
            }
        };
        if let Some((first, _)) = shared.method.get()
            && first.asked() == asked
        {
            return Self::First;
        }
        match shared.context.methods.find(asked) {
            Some(method) => {
                if shared.method.get().is_none()
                    && let Some(name) = Name::of(asked)
                {
                    shared.method.get_or_init(|| (name, method.clone()));
                }
                Self::Known(method)
            }
            None => Name::of(asked).map_or(Self::Other, |name| Self::New(Box::new(name))),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let now = self.shared.monitor.clock().uptime();
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
        let end = match self.call.end.outcome {
            Outcome::Cancelled if panicking() => Outcome::Exception.into(),
            _ => self.call.end,
        };
        // It has not begun if the service panicked in `call`.
        self.call.begin_anonymous();
        let InFlight {
            shared,
            started,
            client,
            method,
            bytes,
            ..
        } = &*self.call;
        let took = self.now.saturating_sub(*started);
        let context = &shared.context;
        context.keep_pace(self.now);
        let method = match method {
            MethodOf::First => shared.method.get().map(|(_, method)| method),
            MethodOf::Known(method) => Some(method),
            MethodOf::New(_) | MethodOf::Other => None,
        };
        let method = method.unwrap_or(&context.methods.other);
        method.count(end, took, *bytes);
        let client = client.as_ref().unwrap_or(&context.clients.anonymous);
        client.counters.count(end, took, *bytes);
        client.series.count(end, took);
        context.clients.series.leave();
    }
}
