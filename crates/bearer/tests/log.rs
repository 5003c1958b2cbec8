//! What the bearer layer logs. Alone in its process: whether an event is logged at all is decided
//! once for all threads, by the first that comes to it.

#![allow(clippy::unwrap_used, reason = "a test that stops has failed")]

#[allow(dead_code, unreachable_pub, reason = "this test uses a part")]
#[path = "behaviour/kit.rs"]
mod kit;

use std::sync::{Arc, Mutex};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use self::kit::*;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String)>>>);

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
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
        let mut text = Text(String::new());
        event.record(&mut text);
        let line = (*event.metadata().level(), text.0);
        self.0.lock().expect("no panic before").push(line);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn observe_logs_what_would_have_been_refused_and_never_the_token() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    call(&layer().observe(), bearer("bad-but-secret")).await;
    call(&layer(), bearer("bad-but-secret")).await;
    let lines = log.0.lock().unwrap();
    let observed = &lines[0];
    assert_eq!(observed.0, Level::INFO);
    assert!(observed.1.contains("would be refused"), "{observed:?}");
    assert!(observed.1.contains("bad_signature"), "{observed:?}");
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|(_, line)| !line.contains("secret")));
}
