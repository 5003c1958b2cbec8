//! The task that records a pending revocation, whatever becomes of its calls.

use std::{mem, pin::pin, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, Either, Fuse, FutureExt, Shared, join, select};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::{Instant, timeout, timeout_at},
};
use tower_revoke_core::UnixTime;

use super::{
    Key, Reservation, State,
    revocation::{PendingRevocation, Reports, Step, after},
};
use crate::{RevokeAfterResponseLayer, notice::Notice};

/// Says whether the token was revoked in time.
pub(super) type Report = oneshot::Sender<bool>;

/// A pending revocation and its task.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) revocation: PendingRevocation<Report>,
    pub(super) task: Arc<TaskHandle>,
}

/// What the calls of a pending revocation know of its task.
#[derive(Debug)]
pub(super) struct TaskHandle {
    pub(super) key: Key,
    pub(super) runtime: Handle,
    changed: Notify,
}

impl TaskHandle {
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }
}

pub(super) struct Task {
    handle: Arc<TaskHandle>,
    config: Arc<RevokeAfterResponseLayer>,
    notice: Notified,
    reservation: Reservation,
    is_done: bool,
}

/// What is owed to the authorization servers.
enum Notified {
    Nothing,
    Reserved(Box<Notice>),
    /// Ends once the revocations are kept for the servers.
    Sent(Shared<BoxFuture<'static, ()>>),
}

impl Task {
    /// Puts the revocation into `state`, for this task to record.
    pub(super) fn new(
        state: &mut State,
        key: Key,
        revocation: PendingRevocation<Report>,
        config: &Arc<RevokeAfterResponseLayer>,
        reservation: Reservation,
        notice: Option<Box<Notice>>,
    ) -> Self {
        let handle = Arc::new(TaskHandle {
            key: key.clone(),
            runtime: reservation.runtime.clone(),
            changed: Notify::new(),
        });
        let entry = Entry {
            revocation,
            task: handle.clone(),
        };
        state.entries.insert(key, entry);
        Self {
            handle,
            config: config.clone(),
            notice: notice.map_or(Notified::Nothing, Notified::Reserved),
            reservation,
            is_done: false,
        }
    }

    /// Not to be called under the lock: a runtime that has ended drops the task at once.
    pub(super) fn spawn(self) -> Arc<TaskHandle> {
        let handle = self.handle.clone();
        handle.runtime.spawn(self.run());
        handle
    }

    async fn run(mut self) {
        let mut attempt = pin!(Fuse::terminated());
        let mut revoked = None;
        loop {
            let (step, reports, wake_at) = self.step(revoked.take());
            match step {
                Step::Done => {
                    // Returns the capacity before the responses end.
                    drop(self);
                    return send(reports);
                }
                Step::Revoke(exp) => attempt.set(self.attempt(exp).fuse()),
                Step::Wait => {}
            }
            send(reports);
            let changed = pin!(timeout_at(wake_at, self.handle.changed.notified()));
            if let Either::Left((is_revoked, _)) = select(attempt.as_mut(), changed).await {
                revoked = Some(is_revoked);
            }
        }
    }

    /// Revokes the token in the list, and owes it to the servers. The servers come first: a crash in
    /// between must not leave a token that is revoked here and never will be there.
    fn attempt(&mut self, exp: Option<UnixTime>) -> impl Future<Output = bool> + use<> {
        let write = self.handle.key.revocation(exp, &self.config.settings);
        let limit = self.config.settings.commit_timeout;
        let kept = self.owe();
        async move {
            let kept = async { timeout(limit, kept?).await.err() };
            let (late, is_recorded) = join(kept, async { write.attempt().await }).await;
            is_recorded && late.is_none()
        }
    }

    /// Queues the token for the servers, the first time. The future ends once it is kept.
    fn owe(&mut self) -> Option<Shared<BoxFuture<'static, ()>>> {
        let notice = match mem::replace(&mut self.notice, Notified::Nothing) {
            Notified::Nothing => return None,
            Notified::Reserved(notice) => notice.send().boxed().shared(),
            Notified::Sent(kept) => kept,
        };
        self.notice = Notified::Sent(notice.clone());
        Some(notice)
    }

    /// Takes the next step, after the answer to an attempt if there was one. Returns it with the
    /// responses that no longer wait, and with the time of the step after.
    ///
    /// The last step removes the entry under the same lock, so that no call can join a revocation
    /// without a task.
    fn step(&mut self, revoked: Option<bool>) -> (Step, Reports<Report>, Instant) {
        let now = Instant::now();
        let mut state = self.reservation.shared.lock();
        let entry = state.entries.get_mut(&self.handle.key);
        let revocation = &mut entry.expect("removed only by its task").revocation;
        let mut reports = match revoked {
            Some(true) => revocation.revoked(),
            Some(false) => {
                revocation.failed(now);
                Reports::new()
            }
            None => Reports::new(),
        };
        let (step, late) = revocation.step(now);
        reports.extend(late);
        let wake_at = revocation
            .wake_at()
            .unwrap_or_else(|| after(now, Duration::MAX));
        if step == Step::Done {
            self.is_done = true;
            state.entries.remove(&self.handle.key);
        }
        (step, reports, wake_at)
    }
}

fn send(reports: Reports<Report>) {
    for (report, in_time) in reports {
        // Nobody receives it if the client has left.
        let _ = report.send(in_time);
    }
}

/// The runtime has ended, or the list has panicked: responses that wait learn that nothing was
/// recorded, since their reports are dropped.
impl Drop for Task {
    fn drop(&mut self) {
        if !self.is_done {
            let mut state = self.reservation.shared.lock();
            let unrecorded = state.entries.remove(&self.handle.key);
            // Reports wake responses, which may take the lock.
            drop(state);
            drop(unrecorded);
        }
    }
}
