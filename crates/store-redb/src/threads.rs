//! The threads that work on the file: one that writes, for all who wait at once, and some that
//! read.

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

/// How many calls share one transaction at most.
const GROUP: usize = 1_024;

/// How many calls may wait; more wait for their turn to do so.
const QUEUE: usize = 2_048;

/// How often the writer lets others run, to find those again in its next group whom it has just
/// answered: one more caller in a group costs far less than one more group.
const LINGER: usize = 32;

/// Each may have to wait for the disk.
const READERS: usize = 2;

type Alone = Box<dyn FnOnce(&Shared) + Send>;

/// What the writer is asked.
enum Job {
    /// In a transaction with others.
    Shared(Box<dyn Write>),
    /// Between two transactions.
    Alone(Alone),
}

pub(crate) struct Threads {
    writes: Option<mpsc::Sender<Job>>,
    reads: Option<mpsc::Sender<Alone>>,
    handles: Vec<JoinHandle<()>>,
}

/// A call that waits for its transaction.
trait Write: Send {
    /// Does it, unless nobody waits any more.
    fn act(&mut self, tables: &mut Tables<'_>) -> Result<(), Fault>;

    /// Tells its caller, when all is durable or nothing is.
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
            // No fault of those who ask for other rows.
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
            // Who doesn't wait any more asks again.
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

    /// Writes in a transaction that others share; durable when it returns.
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

    /// Works on the file while nobody writes.
    pub(crate) async fn alone<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (work, answer) = answering(act);
        ask(self.writes.as_ref(), Job::Alone(work), answer).await
    }

    /// Reads, on a thread that may wait for the disk.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (work, answer) = answering(act);
        ask(self.reads.as_ref(), work, answer).await
    }
}

type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

/// Does it, unless nobody waits any more.
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

/// Until the last handle is dropped, and all that was asked is done.
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

/// One transaction for all.
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

/// Waits until the file is closed: whoever drops the last handle may open it again.
impl Drop for Threads {
    fn drop(&mut self) {
        self.writes = None;
        self.reads = None;
        for handle in mem::take(&mut self.handles) {
            // A thread that panicked has nothing more to close.
            let _ = handle.join();
        }
    }
}
