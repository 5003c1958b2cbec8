//! How a layer further out counts the live streams of its requests.

use std::{fmt, sync::Arc, time::Duration};

use http::Extensions;

use crate::{BearerContext, IdentitySlot, TokenEnd, VerifiedToken};

/// Counts the live streams of requests.
pub trait StreamObserver: Send + Sync {
    /// Counts a stream that is watched from now on.
    fn begin(&self, token: &Arc<VerifiedToken>) -> Box<dyn ObservedStream>;
}

impl fmt::Debug for dyn StreamObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamObserver")
    }
}

/// A stream that an observer counts as live until this is dropped.
pub trait ObservedStream: Send + Sync {
    /// Counts that the stream was ended with its token, so long after the list learned of it.
    fn cut(&self, end: TokenEnd, after: Duration);
}

/// The observers of two layers, one around the other.
struct Both([Arc<dyn StreamObserver>; 2]);

fn both(outer: Arc<dyn StreamObserver>, inner: Arc<dyn StreamObserver>) -> Arc<dyn StreamObserver> {
    Arc::new(Both([outer, inner]))
}

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
    let slot = extensions.get_mut::<IdentitySlot>();
    if let Some(slot) = slot.filter(|slot| slot.observer.is_some()) {
        slot.observer = slot.observer.take().map(|outer| both(outer, observer));
        return slot.unobserved();
    }
    let observer = match BearerContext::of(extensions).and_then(BearerContext::observer) {
        Some(outer) => both(outer.clone(), observer),
        None => observer,
    };
    let slot = extensions.get::<IdentitySlot>();
    let mut slot = slot.map_or_else(IdentitySlot::default, IdentitySlot::unobserved);
    let unobserved = slot.unobserved();
    slot.observer = Some(observer);
    extensions.insert(slot);
    unobserved
}

/// Returns the observer of a request's streams: outside of a bearer layer it is in the slot for the caller,
/// inside in the layer's context.
pub fn stream_observer(extensions: &Extensions) -> Option<&Arc<dyn StreamObserver>> {
    let slot = extensions.get::<IdentitySlot>();
    let in_slot = slot.and_then(|slot| slot.observer.as_ref());
    in_slot.or_else(|| BearerContext::of(extensions)?.observer())
}

/// Takes the slot for the caller, once it has served, out of a request, and returns the observer of its
/// streams.
pub fn take_stream_observer(extensions: &mut Extensions) -> Option<Arc<dyn StreamObserver>> {
    let in_slot = extensions
        .remove::<IdentitySlot>()
        .and_then(|slot| slot.observer);
    in_slot.or_else(|| BearerContext::of(extensions)?.observer().cloned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{Authenticated, Claims, TokenId, internal::observed_context};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl StreamObserver for Count {
        fn begin(&self, _: &Arc<VerifiedToken>) -> Box<dyn ObservedStream> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Box::new([])
        }
    }

    impl ObservedStream for [Box<dyn ObservedStream>; 0] {
        fn cut(&self, _: TokenEnd, _: Duration) {}
    }

    #[test]
    fn layers_on_both_sides_of_bearer_layers_observe_a_stream() {
        let claims = Claims::from_value(serde_json::json!({})).unwrap();
        let token = VerifiedToken::new(TokenId::of_jwt("issuer", "1"), claims, Duration::ZERO);
        let caller = Authenticated::new(Arc::new(token));
        let mut extensions = Extensions::new();
        let pass_bearer_layer = |extensions: &mut Extensions| {
            let observer = take_stream_observer(extensions);
            assert!(extensions.get::<IdentitySlot>().is_none());
            let context = observed_context(Arc::default(), None, observer);
            extensions.insert(caller.clone().with_context(context));
        };
        let counts = [(); 2].map(|()| Arc::new(Count::default()));
        let [outer, inner] = counts.clone();
        observe_streams(&mut extensions, outer);
        pass_bearer_layer(&mut extensions);
        pass_bearer_layer(&mut extensions);
        observe_streams(&mut extensions, inner);
        pass_bearer_layer(&mut extensions);
        let observer = stream_observer(&extensions).expect("an observer");
        observer.begin(caller.token());
        assert_eq!(counts.map(|count| count.0.load(Ordering::SeqCst)), [1, 1]);
    }
}
