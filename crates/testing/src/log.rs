//! A recorder of log events, for tests that assert on them.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::DefaultGuard,
};

/// Records the `tracing` events and spans of the current thread until it is dropped.
///
/// # Examples
/// ```
/// use tower_revoke_testing::RecordedLog;
///
/// let log = RecordedLog::start();
/// tracing::warn!(count = 3, "the store failed");
/// tracing::debug!("the store failed");
/// assert_eq!(log.lines(), ["WARN message=the store failed count=3"]);
/// assert_eq!(log.all().len(), 2);
/// ```
#[derive(Debug)]
pub struct RecordedLog {
    events: Events,
    _guard: DefaultGuard,
}

/// A dispatcher that is always interested in every event.
///
/// `tracing` caches per call site whether any subscriber wants its event. A thread without a
/// recorder that reaches the call site first would switch it off for all threads.
static LISTENING: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Events::default()));

impl RecordedLog {
    /// Starts recording.
    pub fn start() -> Self {
        LazyLock::force(&LISTENING);
        let events = Events::default();
        Self {
            _guard: tracing::subscriber::set_default(events.clone()),
            events,
        }
    }

    /// Returns the events of levels `INFO`, `WARN` and `ERROR`: the level, message and fields of
    /// each.
    pub fn lines(&self) -> Vec<String> {
        let events = self.events.lock();
        let lines = events.iter().filter(|event| event.level < Level::DEBUG);
        lines.map(|event| event.text.clone()).collect()
    }

    /// Returns the events of all levels, and the spans.
    pub fn all(&self) -> Vec<String> {
        let events = self.events.lock();
        events.iter().map(|event| event.text.clone()).collect()
    }

    /// Returns the events of this target, of all levels.
    ///
    /// ```
    /// # let log = tower_revoke_testing::RecordedLog::start();
    /// tracing::info!(target: "audit", by = "ann", "a revocation");
    /// assert_eq!(log.of_target("audit"), ["INFO message=a revocation by=\"ann\""]);
    /// ```
    pub fn of_target(&self, target: &str) -> Vec<String> {
        let events = self.events.lock();
        let events = events.iter().filter(|event| event.target == target);
        events.map(|event| event.text.clone()).collect()
    }

    /// Returns [`all`](Self::all) as one text.
    pub fn text(&self) -> String {
        self.all().join("\n")
    }

    /// Returns how many of [`all`](Self::all) contain this text.
    pub fn lines_with(&self, text: &str) -> usize {
        let all = self.all();
        all.iter().filter(|line| line.contains(text)).count()
    }
}

#[derive(Debug)]
struct Recorded {
    level: Level,
    target: &'static str,
    text: String,
}

#[derive(Clone, Debug, Default)]
struct Events(Arc<Mutex<Vec<Recorded>>>);

impl Events {
    fn lock(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, level: Level, target: &'static str, text: Text) {
        let text = text.0;
        self.lock().push(Recorded {
            level,
            target,
            text,
        });
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a `String` never fails.
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Subscriber for Events {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut text = Text(span.metadata().name().to_owned());
        span.record(&mut text);
        self.push(Level::TRACE, span.metadata().target(), text);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let level = *event.metadata().level();
        let mut text = Text(level.to_string());
        event.record(&mut text);
        self.push(level, event.metadata().target(), text);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
