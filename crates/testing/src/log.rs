//! What is logged, for tests that count lines.

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

/// Records the events of this thread until it is dropped.
///
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

/// Whether an event is of interest is decided once for all threads, by the first that comes to it:
/// one that listens must be there before.
static LISTENING: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Events::default()));

impl RecordedLog {
    /// Starts to record.
    pub fn start() -> Self {
        LazyLock::force(&LISTENING);
        let events = Events::default();
        Self {
            _guard: tracing::subscriber::set_default(events.clone()),
            events,
        }
    }

    /// Returns what was logged above `DEBUG`: of each event the level, the message and the fields.
    pub fn lines(&self) -> Vec<String> {
        let events = self.events.lock();
        let lines = events.iter().filter(|event| event.level < Level::DEBUG);
        lines.map(|event| event.text.clone()).collect()
    }

    /// Returns what was logged at any level.
    pub fn all(&self) -> Vec<String> {
        let events = self.events.lock();
        events.iter().map(|event| event.text.clone()).collect()
    }
}

#[derive(Debug)]
struct Recorded {
    level: Level,
    text: String,
}

#[derive(Clone, Debug, Default)]
struct Events(Arc<Mutex<Vec<Recorded>>>);

impl Events {
    fn lock(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // To a string nothing fails to be written.
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Subscriber for Events {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let level = *event.metadata().level();
        let mut text = Text(level.to_string());
        event.record(&mut text);
        self.lock().push(Recorded {
            level,
            text: text.0,
        });
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
