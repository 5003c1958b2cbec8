//! What a monitor counts of one service, upstream or composite: its clients, its methods, and the last hour.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    ServiceSnapshot,
    clients::Clients,
    history::{self, Past, Reading},
    methods::Methods,
    series::ServiceSeries,
    snapshot::Counts,
    times::Times,
};

/// A service, an upstream, or a composite.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) clients: Clients,
    pub(crate) methods: Methods,
    /// From when the list knew of a revocation until a stream was cut.
    pub(crate) cut_delay: Times,
    /// The step in which calls are counted now.
    step: AtomicU64,
    /// Of all methods together. Locked while a step is closed.
    past: Mutex<Past>,
    /// Of a composite: parts that ended after it was judged.
    late: AtomicU64,
}

impl Context {
    pub(crate) fn new(series: ServiceSeries, clients: usize, methods: usize) -> Self {
        Self {
            clients: Clients::new(series, clients),
            methods: Methods::new(methods),
            cut_delay: Times::default(),
            step: AtomicU64::default(),
            past: Mutex::default(),
            late: AtomicU64::default(),
        }
    }

    /// Closes the current step if it is over. To be called before a call that ends `now` is counted.
    pub(crate) fn keep_pace(&self, now: Duration) {
        let step = history::step_at(now);
        if step > self.step.load(Relaxed)
            // Another call does it otherwise.
            && let Ok(mut past) = self.past.try_lock()
        {
            self.close_steps(&mut past, step);
        }
    }

    fn close_steps(&self, past: &mut Past, now: u64) {
        let step = self.step.load(Relaxed);
        if now <= step {
            return;
        }
        let mut all = Reading::default();
        self.methods.for_each(|_, method| {
            let reading = method.read();
            all.add(&reading);
            method.past().close(step, reading);
        });
        past.close(step, all);
        self.step.store(now, Relaxed);
    }

    /// Calls `visit` with the past of the whole context (`None`), and of each method.
    pub(crate) fn visit_past(&self, now: Duration, mut visit: impl FnMut(Option<&str>, &Past)) {
        let mut past = self.past();
        self.close_steps(&mut past, history::step_at(now));
        visit(None, &past);
        self.methods
            .for_each(|name, method| visit(Some(name), &method.past()));
    }

    pub(crate) fn snapshot(&self) -> ServiceSnapshot {
        let mut snapshot = self.clients.snapshot();
        snapshot.late = self.late.load(Relaxed);
        snapshot.cut_delay = self.cut_delay.read();
        self.methods.for_each(|name, method| {
            let counts: Counts = method.counts();
            match name {
                "" => snapshot.other_methods = counts,
                _ => drop(snapshot.methods.insert(Arc::from(name), counts)),
            }
        });
        snapshot
    }

    pub(crate) fn count_late(&self) {
        self.late.fetch_add(1, Relaxed);
        self.clients.series.count_late();
    }

    /// A poisoned lock is taken: nothing under it panics half way through a change.
    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
