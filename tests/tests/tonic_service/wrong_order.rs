//! Tests layers in the wrong order, or without one that they need: the first call reports it.

use std::sync::{Arc, Mutex, PoisonError};

use tonic::{Code, service::LayerExt};
use tower::ServiceBuilder;
use tower_revoke::{
    MonitorLayer, RequireBearerLayer, RequireClaimsLayer, RevokeAfterResponseLayer, UseLimitLayer,
};
use tower_revoke_tests::World;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::{
    composition::{Probe, probe, serve},
    kit::{Kind, Outcome, call, channel},
};

/// The log lines of a test's thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tower_revoke")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{field}={value:?} "));
            }
        }
        let mut text = Text(format!("{} ", event.metadata().level()));
        event.record(&mut text);
        self.lines().push(text.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Calls each kind of method of a service with misconfigured layers, and checks what was logged.
async fn misconfigured(at: std::net::SocketAddr, world: &World, probe: &Probe, log: &Log) {
    let channel = channel(at).await;
    for kind in Kind::ALL {
        let outcome = call(&channel, kind, Some(&world.token())).await;
        let internal = Outcome::rejected(Code::Internal, "the server is misconfigured");
        assert_eq!(outcome, internal, "{kind:?}");
    }
    assert_eq!(probe.calls(), 0);
    let lines = log.lines();
    // At level ERROR once a minute.
    let named = lines
        .iter()
        .filter(|line| line.contains("RequireBearerLayer"));
    assert_eq!(named.count(), 4, "{lines:#?}");
}

#[tokio::test]
async fn grpc_a_wrong_order_is_internal_and_the_log_names_the_layer() {
    let world = World::new();
    let bearer = || RequireBearerLayer::new(world.tokens.clone());

    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    let (service, probe) = probe();
    let monitor = MonitorLayer::service("orders");
    let counts = monitor.monitor().clone();
    let spend_first = ServiceBuilder::new()
        .layer(monitor)
        .layer(UseLimitLayer::single())
        .layer(bearer())
        .named_layer(service);
    misconfigured(serve(spend_first).await, &world, &probe, &log).await;
    let rejected = &counts.snapshot().services["orders"].total;
    assert_eq!((rejected.calls(), rejected.rejected), (4, 4));
    assert_eq!(rejected.rejected_by["misconfigured"], 4);
    drop(guard);

    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    let (service, probe) = self::probe();
    let takes_first = ServiceBuilder::new()
        .layer(RequireClaimsLayer::scope("orders"))
        .layer(bearer())
        .named_layer(service);
    misconfigured(serve(takes_first).await, &world, &probe, &log).await;
    drop(guard);

    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    let (service, probe) = self::probe();
    let forgotten = RevokeAfterResponseLayer::new().named_layer(service);
    misconfigured(serve(forgotten).await, &world, &probe, &log).await;
    drop(guard);
}
