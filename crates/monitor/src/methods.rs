//! The methods of one service: found without a lock, and bounded.

use std::{
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use histogram::AtomicHistogram;
use http::{HeaderMap, HeaderValue, Method as Verb, StatusCode};
use papaya::Equivalent;
use tower_revoke_core::{Outcome, end::RequestShape};

use crate::{
    Counts, Latency,
    counters::End,
    history::{CONFIG, Past, Reading},
};

/// Longer routes are not counted on their own, which bounds the memory of a service.
const LONGEST_ROUTE: usize = 256;

/// What is asked of a service: the method of HTTP and the route, or the path of a gRPC method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    /// Empty for gRPC.
    pub(crate) verb: &'static str,
    /// Empty if the router has named none.
    pub(crate) route: &'a str,
}

impl<'a> Asked<'a> {
    pub(crate) fn http(verb: &Verb, route: &'a str) -> Self {
        let verb = match *verb {
            Verb::GET => "GET",
            Verb::POST => "POST",
            Verb::PUT => "PUT",
            Verb::DELETE => "DELETE",
            Verb::HEAD => "HEAD",
            Verb::OPTIONS => "OPTIONS",
            Verb::CONNECT => "CONNECT",
            Verb::PATCH => "PATCH",
            Verb::TRACE => "TRACE",
            // Anybody can invent others.
            _ => "OTHER",
        };
        Self { verb, route }
    }

    pub(crate) fn grpc(path: &'a str) -> Self {
        let (verb, route) = ("", path.trim_start_matches('/'));
        Self { verb, route }
    }
}

/// Keeps what was asked, until the response says whether the service knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    verb: &'static str,
    route: Box<str>,
}

impl Name {
    /// `None` for a route that is too long.
    pub(crate) fn of(asked: Asked<'_>) -> Option<Self> {
        let Asked { verb, route } = asked;
        let route = (route.len() <= LONGEST_ROUTE).then(|| route.into())?;
        Some(Self { verb, route })
    }

    pub(crate) fn asked(&self) -> Asked<'_> {
        let Self { verb, route } = self;
        Asked { verb, route }
    }

    /// Returns whether the head of a response shows that the service knows this method: a scan must add
    /// none.
    pub(crate) fn is_known_by(
        &self,
        shape: RequestShape,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> bool {
        if shape.is_grpc() {
            // UNIMPLEMENTED is the answer to an unknown method.
            let status = headers.get("grpc-status").map(HeaderValue::as_bytes);
            return shape.is_grpc_response(headers) && status != Some(b"12");
        }
        // Where the router told a route, a 404 comes from its handler.
        let is_routed = !self.route.is_empty();
        match status {
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => false,
            StatusCode::NOT_FOUND => is_routed,
            _ => true,
        }
    }

    fn text(&self) -> String {
        let Self { verb, route } = self;
        format!("{verb} {route}").trim().to_owned()
    }
}

impl Hash for Asked<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.verb.hash(state);
        self.route.hash(state);
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.asked().hash(state);
    }
}

impl Equivalent<Name> for Asked<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        *self == name.asked()
    }
}

#[derive(Debug)]
pub(crate) struct Methods {
    /// Of calls of no known method.
    pub(crate) other: Arc<Method>,
    known: papaya::HashMap<Name, Arc<Method>>,
    /// How many more may become known.
    room: Mutex<usize>,
}

impl Methods {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            other: Arc::new(Method::new(String::new())),
            known: papaya::HashMap::new(),
            room: Mutex::new(capacity),
        }
    }

    pub(crate) fn find(&self, asked: Asked<'_>) -> Option<Arc<Method>> {
        self.known.pin().get(&asked).cloned()
    }

    /// Adds a method that the service knows. Without room, it is counted with all others.
    pub(crate) fn add(&self, name: Name) -> Arc<Method> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.pin();
        // Another call may have been faster.
        if let Some(method) = known.get(&name.asked()) {
            return method.clone();
        }
        if *room == 0 {
            return self.other.clone();
        }
        *room -= 1;
        let method = Arc::new(Method::new(name.text()));
        known.insert(name, method.clone());
        method
    }

    /// Calls `visit` with each method and its name, which is empty for all others.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&str, &Method)) {
        for method in self.known.pin().values().chain([&self.other]) {
            visit(&method.name, method);
        }
    }
}

/// The counts of one method since the start, and its last hour.
#[derive(Debug)]
pub(crate) struct Method {
    name: String,
    /// By [`Outcome`].
    ended: [AtomicU64; 5],
    sum_nanos: AtomicU64,
    min_nanos: AtomicU64,
    max_nanos: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    latency: AtomicHistogram,
    past: Mutex<Past>,
}

impl Method {
    fn new(name: String) -> Self {
        Self {
            name,
            ended: Default::default(),
            sum_nanos: AtomicU64::default(),
            min_nanos: AtomicU64::new(u64::MAX),
            max_nanos: AtomicU64::default(),
            bytes_in: AtomicU64::default(),
            bytes_out: AtomicU64::default(),
            latency: AtomicHistogram::with_config(&CONFIG),
            past: Mutex::default(),
        }
    }

    pub(crate) fn count(&self, end: End, took: Duration, bytes: Bytes) {
        if let Some(counter) = self.ended.get(end.outcome as usize) {
            counter.fetch_add(1, Relaxed);
        }
        bytes.add_to(&self.bytes_in, &self.bytes_out);
        if end.outcome == Outcome::Rejected {
            return;
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Relaxed);
        if nanos < self.min_nanos.load(Relaxed) {
            self.min_nanos.fetch_min(nanos, Relaxed);
        }
        if nanos > self.max_nanos.load(Relaxed) {
            self.max_nanos.fetch_max(nanos, Relaxed);
        }
        // Never out of range: the value is capped.
        let _ = self.latency.increment(Reading::value_of(nanos));
    }

    pub(crate) fn read(&self) -> Reading {
        Reading {
            ended: self.ended.each_ref().map(|counter| counter.load(Relaxed)),
            sum_nanos: self.sum_nanos.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            latency: self.latency.load(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let reading = self.read();
        let [success, failure, exception, cancelled, rejected] = reading.ended;
        let mut latency = Latency {
            sum: Duration::from_nanos(reading.sum_nanos),
            buckets: reading.buckets(),
            ..Latency::default()
        };
        let min = self.min_nanos.load(Relaxed);
        if min != u64::MAX {
            let max = self.max_nanos.load(Relaxed).max(min);
            latency.min = Some(Duration::from_nanos(min));
            latency.max = Some(Duration::from_nanos(max));
        }
        Counts {
            success,
            failure,
            exception,
            cancelled,
            rejected,
            bytes_in: reading.bytes_in,
            bytes_out: reading.bytes_out,
            latency,
            ..Counts::default()
        }
    }

    /// A poisoned lock is taken: nothing under it panics half way through a change.
    pub(crate) fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of one call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bytes {
    pub(crate) incoming: u64,
    pub(crate) outgoing: u64,
}

impl Bytes {
    /// Writes nothing where there is nothing to add.
    pub(crate) fn add_to(self, incoming: &AtomicU64, outgoing: &AtomicU64) {
        for (bytes, counter) in [(self.incoming, incoming), (self.outgoing, outgoing)] {
            if bytes > 0 {
                counter.fetch_add(bytes, Relaxed);
            }
        }
    }
}
