//! What is known of a call, and how it is counted.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method as Verb, Request, header};
use tower_revoke_core::end::RequestShape;

use crate::{
    Counted,
    clients::Client,
    counters::End,
    layer::Shared,
    methods::{Asked, Bytes, Method, Name},
};

/// What is known of a call when it is counted.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) shared: Arc<Shared>,
    /// `None`: anonymous, at least so far.
    pub(crate) client: Option<Arc<Client>>,
    pub(crate) method: MethodOf,
    pub(crate) bytes: Bytes,
}

/// A composite's own call that has ended, and is counted once its parts have.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) call: Call,
    pub(crate) end: End,
    pub(crate) took: Duration,
}

#[derive(Debug)]
pub(crate) enum MethodOf {
    /// The one that the clones of this service share.
    First,
    Known(Arc<Method>),
    /// Counted by itself if the response shows that the service knows it.
    New(Box<Name>),
    Other,
}

impl Call {
    #[expect(clippy::inline_always, reason = "on the path of each call")]
    #[inline(always)]
    pub(crate) fn count(&self, end: End, took: Duration, now: Duration) {
        let Self {
            shared,
            client,
            method,
            bytes,
        } = self;
        let context = &shared.context;
        context.keep_pace(now);
        let method = match method {
            MethodOf::First => shared.method.get().map(|(_, method)| method),
            MethodOf::Known(method) => Some(method),
            MethodOf::New(_) | MethodOf::Other => None,
        };
        let method = method.unwrap_or(&context.methods.other);
        method.count(end, took, *bytes);
        let client = client.as_ref().unwrap_or(&context.clients.anonymous);
        context.clients.keep_pace(client, now);
        client.counters.count(end, took, *bytes);
        client.series.count(end, took);
        context.clients.series.leave();
    }
}

impl Ended {
    /// Returns as what it ended by itself.
    pub(crate) fn end(&self) -> End {
        self.end
    }

    /// Counts it as what it was judged.
    pub(crate) fn count(&self, end: End, now: Duration) {
        self.call.count(end, self.took, now);
    }
}

impl MethodOf {
    pub(crate) fn of<B>(shared: &Shared, shape: RequestShape, request: &Request<B>) -> Self {
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

/// The largest length that is believed: 1 TiB. A few calls that announce more than they send would
/// overflow the counters.
const MOST_ANNOUNCED: u64 = 1 << 40;

/// Returns the announced length of a request's body.
pub(crate) fn announced(verb: &Verb, headers: &HeaderMap) -> u64 {
    if matches!(*verb, Verb::GET | Verb::HEAD) {
        return 0;
    }
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or(0).min(MOST_ANNOUNCED)
}
