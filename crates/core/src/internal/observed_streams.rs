//! How a layer further out counts the live streams of its requests.

use std::{sync::Arc, time::Duration};

use http::Extensions;

use crate::{IdentitySlot, TokenEnd, VerifiedToken};

/// Counts the live streams of requests.
pub trait StreamObserver: Send + Sync {
    /// Counts a stream that is watched from now on.
    fn begin(&self, token: &Arc<VerifiedToken>) -> Box<dyn ObservedStream>;
}

/// A stream that an observer counts as live until this is dropped.
pub trait ObservedStream: Send + Sync {
    /// Counts that the stream was ended with its token, so long after the list learned of it.
    fn cut(&self, end: TokenEnd, after: Duration);
}

/// The observers of two layers, one around the other.
struct Both([Arc<dyn StreamObserver>; 2]);

impl StreamObserver for Both {
    fn begin(&self, token: &Arc<VerifiedToken>) -> Box<dyn ObservedStream> {
        Box::new(self.0.each_ref().map(|observer| observer.begin(token)))
    }
}

impl ObservedStream for [Box<dyn ObservedStream>; 2] {
    fn cut(&self, end: TokenEnd, after: Duration) {
        self.iter().for_each(|stream| stream.cut(end, after));
    }
}

/// Adds an observer to a request. Returns the slot for its caller, which layers further out share.
pub fn observe_streams(
    extensions: &mut Extensions,
    observer: Arc<dyn StreamObserver>,
) -> IdentitySlot {
    let slot = extensions.get::<IdentitySlot>().cloned();
    let mut slot = slot.unwrap_or_default();
    let caller = slot.clone();
    slot.observer = Some(match slot.observer.take() {
        Some(outer) => Arc::new(Both([outer, observer])),
        None => observer,
    });
    extensions.insert(slot);
    caller
}

/// Returns the observer of a request's streams.
pub fn stream_observer(extensions: &Extensions) -> Option<&Arc<dyn StreamObserver>> {
    extensions.get::<IdentitySlot>()?.observer.as_ref()
}
