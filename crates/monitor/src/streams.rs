//! Live streams: how many there are, and which were ended with their token.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tower_revoke_core::{
    Authenticated, TokenEnd, VerifiedToken,
    internal::{ObservedStream, StreamObserver},
};

use crate::{Counted, Counts, clients::Client, context::Context, layer::Shared};

/// Why streams are ended, each with its label.
pub(crate) const ENDS: [(TokenEnd, &str); 3] = [
    (TokenEnd::Revoked, "revoked"),
    (TokenEnd::Expired, "expired"),
    (TokenEnd::Unknown, "unavailable"),
];

/// Returns the index of an end in [`ENDS`].
pub(crate) fn index_of(end: TokenEnd) -> usize {
    match end {
        TokenEnd::Revoked => 0,
        TokenEnd::Expired => 1,
        _ => 2,
    }
}

/// The streams of one client.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    begun: AtomicU64,
    over: AtomicU64,
    cut: [AtomicU64; ENDS.len()],
}

impl Streams {
    pub(crate) fn take_over(&self, gone: Self) {
        let pairs = [(&self.begun, gone.begun), (&self.over, gone.over)];
        for (to, from) in pairs.into_iter().chain(self.cut.iter().zip(gone.cut)) {
            to.fetch_add(from.into_inner(), Relaxed);
        }
    }

    pub(crate) fn read_into(&self, counts: &mut Counts) {
        for ((_, label), cut) in ENDS.into_iter().zip(&self.cut) {
            let times = cut.load(Relaxed);
            if times > 0 {
                counts.ended_streams.insert(label, times);
            }
        }
        // In this order, so that no more are over than have begun.
        let over = self.over.load(Relaxed);
        counts.live_streams = self.begun.load(Relaxed).saturating_sub(over);
    }
}

impl StreamObserver for Shared {
    fn begin(&self, token: &Arc<VerifiedToken>) -> Box<dyn ObservedStream> {
        let client = match self.monitor.counts(Counted::Clients) {
            true => {
                let caller = Authenticated::new(token.clone());
                let client = self.client_of(&caller, self.monitor.clock().uptime());
                client.unwrap_or_else(|| self.context.clients.anonymous.clone())
            }
            false => self.context.clients.other.clone(),
        };
        Box::new(LiveStream::of(&self.context, client))
    }
}

/// The observer of a request whose client was found without its token.
pub(crate) struct OfRequest {
    pub(crate) context: Arc<Context>,
    pub(crate) client: Arc<Client>,
}

impl StreamObserver for OfRequest {
    fn begin(&self, _: &Arc<VerifiedToken>) -> Box<dyn ObservedStream> {
        Box::new(LiveStream::of(&self.context, self.client.clone()))
    }
}

struct LiveStream {
    context: Arc<Context>,
    client: Arc<Client>,
}

impl LiveStream {
    fn of(context: &Arc<Context>, client: Arc<Client>) -> Self {
        client.counters.streams().begun.fetch_add(1, Relaxed);
        context.clients.series.enter_stream();
        let context = context.clone();
        Self { context, client }
    }
}

impl ObservedStream for LiveStream {
    fn cut(&self, end: TokenEnd, after: Duration) {
        if let Some(cut) = self.client.counters.streams().cut.get(index_of(end)) {
            cut.fetch_add(1, Relaxed);
        }
        if end == TokenEnd::Revoked {
            self.context.cut_delay.record(after);
        }
        self.context.clients.series.cut_stream(end, after);
    }
}

impl Drop for LiveStream {
    fn drop(&mut self) {
        self.client.counters.streams().over.fetch_add(1, Relaxed);
        self.context.clients.series.leave_stream();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_counted_at_its_own_index_and_labelled_as_in_rejections() {
        for (index, (end, label)) in ENDS.into_iter().enumerate() {
            assert_eq!(index_of(end), index);
            assert_eq!(end.reason().label(), label);
        }
    }
}
