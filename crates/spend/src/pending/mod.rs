//! Revocations that are pending until the responses of their calls end, and the tasks that see
//! them recorded whatever becomes of the calls.

mod revocation;

use std::{
    collections::HashMap,
    fmt,
    future::pending,
    hash::{Hash, Hasher},
    iter,
    pin::pin,
    sync::Arc,
};

use futures_util::future::{Either, select};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::{Instant, timeout, timeout_at},
};
use tower_revoke_core::{
    KeyDigest, RemoteRevocation, Revocation, Revocations, TokenId, UnixTime,
    end::{BodyEnd, OnEnd},
    retention,
};

use self::revocation::{Call, PendingRevocation, Reports, Step, after};
use crate::{
    config::Config,
    owed::{Hold, Remote, Settle, ask, insist, tell_servers},
    slots::{Shared, Slot, State, StateGuard},
};

/// Told whether the token was revoked in time.
type Report = oneshot::Sender<bool>;

/// The authorization servers to which the end of a token is reported, beside the list.
pub(crate) type Servers = Arc<[Arc<dyn RemoteRevocation>]>;

/// Calls with one key share a pending revocation: of the same token, on the same list, at the same
/// servers. The list and the servers are kept, so that no other can come to stand at their address.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) token: TokenId,
    pub(crate) list: Arc<dyn Revocations>,
    pub(crate) servers: Servers,
}

fn address<T: ?Sized>(of: &Arc<T>) -> usize {
    Arc::as_ptr(of).cast::<()>().addr()
}

impl Key {
    fn addresses(&self) -> impl Iterator<Item = usize> {
        iter::once(address(&self.list)).chain(self.servers.iter().map(address))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.token == other.token && self.addresses().eq(other.addresses())
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.token.hash(state);
        for address in self.addresses() {
            address.hash(state);
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.token).finish()
    }
}

/// All revocations that are pending in one set of slots.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    entries: HashMap<Key, Entry>,
    calls: u64,
}

#[derive(Debug)]
struct Entry {
    revocation: PendingRevocation<Report>,
    task: Arc<TaskHandle>,
    /// Whose slot it takes.
    holder: KeyDigest,
}

/// What the calls of a pending revocation know of its task.
#[derive(Debug)]
struct TaskHandle {
    key: Key,
    runtime: Handle,
    wake: Notify,
}

impl Pending {
    fn new_call(&mut self, config: &Config) -> Call {
        self.calls += 1;
        Call {
            deadline: after(Instant::now(), config.deadline),
            id: self.calls,
        }
    }
}

/// One call's part in a pending revocation. Dropped in any state, the token is revoked all the
/// same.
#[derive(Debug)]
pub(crate) struct PendingCall {
    task: Arc<TaskHandle>,
    config: Arc<Config>,
    exp: Option<UnixTime>,
    call: Call,
    is_open: bool,
}

impl PendingCall {
    /// Joins the revocation that is pending under `key`. `None` if there is none, or if the slots
    /// are waited for to be free.
    pub(crate) fn join(config: &Arc<Config>, key: &Key, exp: Option<UnixTime>) -> Option<Self> {
        let state = config.slots.shared().lock();
        match state.is_draining() {
            true => None,
            false => Self::join_in(state, config, key, exp).ok(),
        }
    }

    /// Begins a revocation, unless another call has meanwhile: then `slot` and `remote` are free
    /// again.
    pub(crate) fn begin(
        config: &Arc<Config>,
        key: Key,
        exp: Option<UnixTime>,
        slot: Slot,
        remote: Option<Box<Remote>>,
    ) -> Self {
        let shared = config.slots.shared();
        let mut state = match Self::join_in(shared.lock(), config, &key, exp) {
            Ok(joined) => return joined,
            Err(state) => state,
        };
        let call = state.pending.new_call(config);
        let mut revocation = PendingRevocation::new(exp);
        revocation.join(call, exp);
        let task = Arc::new(TaskHandle {
            key: key.clone(),
            runtime: slot.runtime().clone(),
            wake: Notify::new(),
        });
        let entry = Entry {
            revocation,
            task: task.clone(),
            holder: slot.into_holder(),
        };
        state.pending.entries.insert(key, entry);
        drop(state);
        let work = Task {
            shared: shared.clone(),
            handle: task.clone(),
            config: config.clone(),
            remote,
            is_done: false,
        };
        task.runtime.spawn(work.run());
        Self {
            task,
            config: config.clone(),
            exp,
            call,
            is_open: true,
        }
    }

    fn join_in<'a>(
        mut state: StateGuard<'a>,
        config: &Arc<Config>,
        key: &Key,
        exp: Option<UnixTime>,
    ) -> Result<Self, StateGuard<'a>> {
        let call = state.pending.new_call(config);
        let Some(entry) = state.pending.entries.get_mut(key) else {
            return Err(state);
        };
        let is_next = entry.revocation.join(call, exp);
        let task = entry.task.clone();
        drop(state);
        if is_next {
            task.wake.notify_one();
        }
        Ok(Self {
            task,
            config: config.clone(),
            exp,
            call,
            is_open: true,
        })
    }

    /// The call does not cost the token its life.
    pub(crate) fn withdraw(mut self) {
        self.close(PendingRevocation::withdraw);
    }

    /// Done when the token was revoked after this, or could not be in time.
    pub(crate) fn end(mut self) -> Settle {
        let (settle, report) = Settle::new(self.config.on_store_error);
        let limit = after(Instant::now(), self.config.commit_timeout);
        let mut report = Some(report);
        self.close(|revocation, call| {
            if let Some(report) = report.take() {
                revocation.end(call, limit, report);
            }
        });
        if let Some(report) = report {
            self.revoke_again(report);
        }
        settle
    }

    /// Lets the pending revocation know what became of the call, if there still is one.
    fn close(&mut self, what: impl FnOnce(&mut PendingRevocation<Report>, Call)) {
        self.is_open = false;
        let mut state = self.config.slots.shared().lock();
        let Some(entry) = state.pending.entries.get_mut(&self.task.key) else {
            return;
        };
        what(&mut entry.revocation, self.call);
        let task = entry.task.clone();
        drop(state);
        task.wake.notify_one();
    }

    /// The deadline has passed, and the slot is free: the token was revoked then, but may have been
    /// lifted since. What is asked now lives no longer than the response waits for it.
    fn revoke_again(&self, report: Report) {
        let Key { list, token, .. } = self.task.key.clone();
        let (config, exp) = (self.config.clone(), self.exp);
        let runtime = Handle::try_current().unwrap_or_else(|_| self.task.runtime.clone());
        runtime.spawn(async move {
            let revoke = || list.clone().revoke(revocation(token, exp));
            let again = insist(
                "revocation",
                token,
                retention::of_token(exp),
                &config,
                revoke,
            );
            let in_time = timeout(config.commit_timeout, again).await.is_ok();
            let _ = report.send(in_time);
        });
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if self.is_open {
            self.close(PendingRevocation::cancel);
        }
    }
}

/// Holds the end of a body until the token is revoked.
impl OnEnd for PendingCall {
    type Hold = Hold;

    fn on_end(self, _: BodyEnd<'_>) -> Hold {
        Hold(self.end())
    }
}

fn revocation(token: TokenId, exp: Option<UnixTime>) -> Revocation {
    Revocation::of_token(token, exp).because("response delivered")
}

/// Records one pending revocation.
struct Task {
    shared: Arc<Shared>,
    handle: Arc<TaskHandle>,
    config: Arc<Config>,
    remote: Option<Box<Remote>>,
    is_done: bool,
}

impl Task {
    async fn run(mut self) {
        let mut attempt = pin!(None);
        let mut revoked = None;
        loop {
            let (step, wake_at) = self.step(revoked.take());
            match step {
                Step::Done => return,
                Step::Revoke(exp) => attempt.set(Some(self.attempt(exp))),
                Step::Wait => {}
            }
            let answer = {
                let answered = pin!(async {
                    match attempt.as_mut().as_pin_mut() {
                        Some(attempt) => attempt.await,
                        None => pending().await,
                    }
                });
                let woken = pin!(async {
                    let woken = self.handle.wake.notified();
                    match wake_at {
                        // Either way there is something to look at.
                        Some(at) => drop(timeout_at(at, woken).await),
                        None => woken.await,
                    }
                });
                match select(answered, woken).await {
                    Either::Left((answer, _)) => Some(answer),
                    Either::Right(_) => None,
                }
            };
            if let Some(is_revoked) = answer {
                attempt.set(None);
                if is_revoked {
                    tell_servers(self.remote.take());
                }
                revoked = Some(is_revoked);
            }
        }
    }

    /// Asks the store once. Whether the token is revoked, or past its life.
    fn attempt(&self, exp: Option<UnixTime>) -> impl Future<Output = bool> + use<> {
        let Key { list, token, .. } = self.handle.key.clone();
        let config = self.config.clone();
        async move {
            let revoke = list.revoke(revocation(token, exp));
            ask(
                "revocation",
                token,
                retention::of_token(exp),
                &config,
                revoke,
            )
            .await
        }
    }

    /// Moves the revocation on. It ends, and its slot is free, under one lock, so that no call can
    /// join what nobody works on.
    fn step(&mut self, revoked: Option<bool>) -> (Step, Option<Instant>) {
        let now = Instant::now();
        let mut state = self.shared.lock();
        let Some(entry) = state.pending.entries.get_mut(&self.handle.key) else {
            return (Step::Done, None);
        };
        let mut reports = match revoked {
            Some(true) => entry.revocation.revoked(),
            Some(false) => {
                entry.revocation.failed(now);
                Reports::new()
            }
            None => Reports::new(),
        };
        let (step, late) = entry.revocation.step(now);
        let wake_at = entry.revocation.wake_at();
        reports.extend(late);
        if step == Step::Done {
            self.is_done = true;
            state.remove(&self.handle.key);
        }
        drop(state);
        if self.is_done {
            self.shared.returned();
        }
        for (report, in_time) in reports {
            // Nobody waits if the client has left.
            let _ = report.send(in_time);
        }
        (step, wake_at)
    }
}

impl State {
    /// Takes out what is pending under `key`, and frees its slot.
    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.pending.entries.remove(key)?;
        self.return_rule(entry.holder);
        Some(entry)
    }
}

/// The runtime ended, or the list panicked: waiting responses learn that nothing was recorded.
impl Drop for Task {
    fn drop(&mut self) {
        if !self.is_done {
            let unrecorded = self.shared.lock().remove(&self.handle.key);
            drop(unrecorded);
            self.shared.returned();
        }
    }
}
