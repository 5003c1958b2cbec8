//! The threads that access the tree: one that writes, by group commit, and some that read.
//!
//! A flush takes far longer than the work of one call. The writer therefore executes all calls that
//! wait in one group, and answers them after its single flush. More concurrent callers make larger
//! groups, not more flushes.

use std::{
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use tokio::sync::{mpsc, oneshot};
use tower_revoke_core::StoreError;

use crate::{
    fault::Fault,
    group::Group,
    shared::{Open, Shared, locked},
};

/// The maximum number of calls in one group.
const GROUP: usize = 1_024;

/// The capacity of each queue. Callers beyond it wait for a place.
const QUEUE: usize = 2_048;

/// How often the writer yields before it begins a group that is smaller than the last.
///
/// The callers that it has just answered often call again at once. Waiting a moment for them costs
/// far less than a further flush.
const LINGER: usize = 32;

/// The number of reading threads, each of which may block on the disk.
const READERS: usize = 2;

/// A call on the reading threads.
type Read = Box<dyn FnOnce(&Shared) + Send>;

/// A call on the writing thread, which is answered after the commit. It is not executed if there is
/// no group.
type Write = Box<dyn FnOnce(Option<&mut Group<'_>>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<(), StoreError>)>;

pub(crate) struct Threads {
    writes: Option<mpsc::Sender<Write>>,
    reads: Option<mpsc::Sender<Read>>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let (writes, queue) = mpsc::channel(QUEUE);
        let (reads, wanted) = mpsc::channel(QUEUE);
        let mut threads = Self {
            writes: Some(writes),
            reads: Some(reads),
            handles: Vec::new(),
        };
        let own = shared.clone();
        threads.spawn("store-writer", move || write(&own, queue))?;
        let wanted = Arc::new(Mutex::new(wanted));
        for _ in 0..READERS {
            let (own, wanted) = (shared.clone(), wanted.clone());
            threads.spawn("store-reader", move || read(&own, &wanted))?;
        }
        Ok(threads)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = thread::Builder::new().name(name.to_owned());
        self.handles.push(thread.spawn(work)?);
        Ok(())
    }

    /// Executes `act` in a group that it shares with others, unless its caller was dropped. Durable
    /// when it returns.
    pub(crate) async fn write<T: Send + 'static, E: Into<StoreError>>(
        &self,
        act: impl FnOnce(&mut Group<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (caller, answer) = oneshot::channel();
        let write: Write = Box::new(move |group| {
            let group = group.filter(|_| !caller.is_closed());
            let done = group.map(|group| act(group).map_err(Into::into));
            Box::new(move |committed| {
                let done = done.unwrap_or_else(|| Err(Fault::Ended.into()));
                // A caller that was dropped meanwhile repeats the call if it matters.
                let _ = caller.send(committed.and(done));
            })
        });
        ask(self.writes.as_ref(), write, answer).await
    }

    /// Executes `act` on a reading thread, which may block on the disk.
    pub(crate) async fn read<T: Send + 'static, E: Into<StoreError>>(
        &self,
        act: impl FnOnce(&Shared, &Open) -> Result<T, E> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (caller, answer) = oneshot::channel();
        let read: Read = Box::new(move |shared| {
            if !caller.is_closed() {
                let done = shared.read(|open| act(shared, open).map_err(Into::into));
                let _ = caller.send(done);
            }
        });
        ask(self.reads.as_ref(), read, answer).await
    }
}

async fn ask<J, T>(
    queue: Option<&mpsc::Sender<J>>,
    job: J,
    answer: oneshot::Receiver<Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let queue = queue.ok_or(Fault::Ended)?;
    queue.send(job).await.map_err(|_| Fault::Ended)?;
    // fjall may panic over damaged data, which drops the caller.
    answer.await.unwrap_or_else(|_| Err(Fault::Ended.into()))
}

/// Runs the writing thread, until the last handle is dropped and its queue is empty.
fn write(shared: &Shared, mut queue: mpsc::Receiver<Write>) {
    let (mut jobs, mut expected) = (Vec::new(), 0);
    while queue.blocking_recv_many(&mut jobs, GROUP) > 0 {
        for _ in 0..LINGER {
            if jobs.len() + queue.len() >= expected {
                break;
            }
            thread::yield_now();
        }
        while jobs.len() < GROUP
            && let Ok(job) = queue.try_recv()
        {
            jobs.push(job);
        }
        expected = jobs.len();
        commit(shared, &mut jobs);
    }
}

/// Executes calls as one group, and answers all of their callers.
fn commit(shared: &Shared, jobs: &mut Vec<Write>) {
    let mut answers = Vec::with_capacity(jobs.len());
    let committed = shared.write(|group| {
        for job in jobs.drain(..) {
            answers.extend(catch_unwind(AssertUnwindSafe(|| job(Some(&mut *group)))));
        }
    });
    answers.extend(jobs.drain(..).map(|job| job(None)));
    for answer in answers {
        answer(committed.clone().map_err(|fault| shared.tell(fault)));
    }
}

/// Runs a reading thread, until the last handle is dropped.
fn read(shared: &Shared, wanted: &Mutex<mpsc::Receiver<Read>>) {
    loop {
        let next = locked(wanted).blocking_recv();
        let Some(read) = next else { return };
        let _ = catch_unwind(AssertUnwindSafe(|| read(shared)));
    }
}

/// Blocks until the folder is closed, so that it can be opened again after the last handle is
/// dropped.
impl Drop for Threads {
    fn drop(&mut self) {
        self.writes = None;
        self.reads = None;
        for handle in mem::take(&mut self.handles) {
            // A thread that panicked has dropped its share of the folder.
            let _ = handle.join();
        }
    }
}
