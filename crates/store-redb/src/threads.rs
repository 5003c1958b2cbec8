//! The threads that access the file: one that writes, by group commit, and some that read.
//!
//! A flush takes far longer than the work of one call. The writer therefore executes all calls that
//! wait in one transaction, and answers them after its single flush. More concurrent callers make
//! larger groups, not more flushes.

use std::{
    io, mem,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use tokio::sync::{mpsc, oneshot};
use tower_revoke_core::StoreError;

use crate::{
    fault::Fault,
    shared::Shared,
    tables::{Done, Tables},
};

/// The maximum number of calls in one transaction.
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

type Alone = Box<dyn FnOnce(&Shared) + Send>;

/// A job for the writer.
enum Job {
    /// A call that shares a transaction with others.
    Shared(Box<dyn Write>),
    /// Work that runs between two transactions.
    Alone(Alone),
}

pub(crate) struct Threads {
    writes: Option<mpsc::Sender<Job>>,
    reads: Option<mpsc::Sender<Alone>>,
    handles: Vec<JoinHandle<()>>,
}

/// A call in the writer's queue.
trait Write: Send {
    /// Executes the call, unless its caller was dropped.
    fn act(&mut self, tables: &mut Tables<'_>) -> Result<(), Fault>;

    /// Answers the caller, after the commit has succeeded or failed.
    fn answer(self: Box<Self>, shared: &Shared, committed: &Result<(), Fault>);
}

struct Call<T, F> {
    act: Option<F>,
    answer: Option<Result<T, StoreError>>,
    caller: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Write for Call<T, F>
where
    T: Send,
    F: FnOnce(&mut Tables<'_>) -> Done<T> + Send,
{
    fn act(&mut self, tables: &mut Tables<'_>) -> Result<(), Fault> {
        if self.caller.is_closed() {
            return Ok(());
        }
        let Some(act) = self.act.take() else {
            return Ok(());
        };
        self.answer = Some(match act(tables) {
            Ok(answer) => answer,
            // An unreadable row fails this call alone: the others of the group read other rows.
            Err(Fault::Row(error)) => Err(StoreError::Unavailable(Fault::Row(error).into())),
            Err(fault) => return Err(fault),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, shared: &Shared, committed: &Result<(), Fault>) {
        let answer = match committed {
            Ok(()) => self.answer,
            Err(fault) => Some(Err(shared.tell(fault.clone()))),
        };
        if let Some(answer) = answer {
            // A caller that was dropped meanwhile repeats the call if it matters.
            let _ = self.caller.send(answer);
        }
    }
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
        threads.spawn("redb-writer", move || write(&own, queue))?;
        let wanted = Arc::new(Mutex::new(wanted));
        for _ in 0..READERS {
            let (own, wanted) = (shared.clone(), wanted.clone());
            threads.spawn("redb-reader", move || read(&own, &wanted))?;
        }
        Ok(threads)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = thread::Builder::new().name(name.to_owned());
        self.handles.push(thread.spawn(work)?);
        Ok(())
    }

    /// Runs `act` in a transaction that it shares with others. Durable when it returns.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Tables<'_>) -> Done<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (caller, answer) = oneshot::channel();
        let call = Box::new(Call {
            act: Some(act),
            answer: None,
            caller,
        });
        ask(self.writes.as_ref(), Job::Shared(call), answer).await
    }

    /// Runs `act` on the writer thread, between two transactions.
    pub(crate) async fn alone<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (work, answer) = answering(act);
        ask(self.writes.as_ref(), Job::Alone(work), answer).await
    }

    /// Runs `act` on a reading thread, which may block on the disk.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (work, answer) = answering(act);
        ask(self.reads.as_ref(), work, answer).await
    }
}

type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

/// Returns a job that runs `act` unless its caller was dropped, and the receiver of its answer.
fn answering<T: Send + 'static>(
    act: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
) -> (Alone, Answer<T>) {
    let (caller, answer) = oneshot::channel();
    let work = Box::new(move |shared: &Shared| {
        if !caller.is_closed() {
            let _ = caller.send(act(shared));
        }
    });
    (work, answer)
}

async fn ask<J, T>(
    queue: Option<&mpsc::Sender<J>>,
    job: J,
    answer: Answer<T>,
) -> Result<T, StoreError> {
    let ended = || StoreError::Unavailable(Fault::Ended.into());
    let queue = queue.ok_or_else(ended)?;
    queue.send(job).await.map_err(|_| ended())?;
    answer.await.unwrap_or_else(|_| Err(ended()))
}

/// Runs the writer thread, until the last handle is dropped and its queue is empty.
fn write(shared: &Shared, mut queue: mpsc::Receiver<Job>) {
    let (mut jobs, mut group) = (Vec::new(), Vec::new());
    let mut expected = 0;
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
        for job in jobs.drain(..) {
            match job {
                Job::Shared(call) => group.push(call),
                Job::Alone(work) => {
                    commit(shared, &mut group);
                    work(shared);
                }
            }
        }
        commit(shared, &mut group);
    }
}

/// Executes a group in one transaction, and answers all of its callers.
fn commit(shared: &Shared, group: &mut Vec<Box<dyn Write>>) {
    if group.is_empty() {
        return;
    }
    let committed = shared.write(|tables| group.iter_mut().try_for_each(|call| call.act(tables)));
    for call in group.drain(..) {
        call.answer(shared, &committed);
    }
}

fn read(shared: &Shared, wanted: &Mutex<mpsc::Receiver<Alone>>) {
    loop {
        let next = wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        match next {
            Some(work) => work(shared),
            None => return,
        }
    }
}

/// Blocks until the file is closed, so that it can be opened again after the last handle is
/// dropped.
impl Drop for Threads {
    fn drop(&mut self) {
        self.writes = None;
        self.reads = None;
        for handle in mem::take(&mut self.handles) {
            // A thread that panicked has dropped its share of the file.
            let _ = handle.join();
        }
    }
}
