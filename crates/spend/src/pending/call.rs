//! One call's part in a pending revocation.

use std::sync::{Arc, MutexGuard};

use http::Response;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};
use tower_revoke_core::{
    UnixTime,
    end::{BodyEnd, OnEnd},
};

use super::{
    Key, Reservation, Shared, State,
    revocation::{JoinedCall, PendingRevocation, after},
    task::{Report, Task, TaskHandle},
};
use crate::{RevokeAfterResponseLayer, commit::Commit, notice::Notice, outcome_rule::OutcomeRule};

/// A call that has joined a pending revocation. If it is dropped before its end, the token is
/// revoked all the same.
#[derive(Debug)]
pub struct PendingCall {
    task: Arc<TaskHandle>,
    config: Arc<RevokeAfterResponseLayer>,
    exp: Option<UnixTime>,
    call: JoinedCall,
    is_open: bool,
}

impl PendingCall {
    /// Joins the revocation that is pending under `key`. `None` if there is none, or while the
    /// pending revocations are drained.
    pub(crate) fn join(
        config: &Arc<RevokeAfterResponseLayer>,
        key: &Key,
        exp: Option<UnixTime>,
    ) -> Option<Self> {
        let state = shared(config).lock();
        match state.capacity.is_draining() {
            true => None,
            false => Self::join_in(state, config, key, exp).ok(),
        }
    }

    /// Begins a revocation. If another call has begun it meanwhile, this one joins it, and what it
    /// has reserved is free again.
    pub(crate) fn begin(
        config: &Arc<RevokeAfterResponseLayer>,
        key: Key,
        exp: Option<UnixTime>,
        reservation: Reservation,
        notice: Option<Box<Notice>>,
    ) -> Self {
        let mut state = match Self::join_in(shared(config).lock(), config, &key, exp) {
            Ok(joined) => return joined,
            Err(state) => state,
        };
        let call = state.new_call(config);
        let mut revocation = PendingRevocation::new(exp);
        revocation.join(call, exp);
        let task = Task::new(&mut state, key, revocation, config, reservation, notice);
        drop(state);
        let task = task.spawn();
        Self::new(task, config, exp, call)
    }

    fn join_in<'a>(
        mut state: MutexGuard<'a, State>,
        config: &Arc<RevokeAfterResponseLayer>,
        key: &Key,
        exp: Option<UnixTime>,
    ) -> Result<Self, MutexGuard<'a, State>> {
        let call = state.new_call(config);
        let Some(entry) = state.entries.get_mut(key) else {
            return Err(state);
        };
        let is_next = entry.revocation.join(call, exp);
        let task = entry.task.clone();
        drop(state);
        if is_next {
            task.wake();
        }
        Ok(Self::new(task, config, exp, call))
    }

    fn new(
        task: Arc<TaskHandle>,
        config: &Arc<RevokeAfterResponseLayer>,
        exp: Option<UnixTime>,
        call: JoinedCall,
    ) -> Self {
        Self {
            task,
            config: config.clone(),
            exp,
            call,
            is_open: true,
        }
    }

    /// Cancels the call's part in the revocation, if a rule says so. Hands it back otherwise.
    pub(crate) fn settle<B, E>(mut self, result: &Result<Response<B>, E>) -> Option<Self> {
        let is_free = OutcomeRule::any_holds(&self.config.settings.free, result);
        if is_free {
            self.close(PendingRevocation::withdraw);
        }
        (!is_free).then_some(self)
    }

    /// Ends the call. The [`Commit`] waits for a revocation that begins after this.
    pub(crate) fn end(mut self) -> Commit {
        let (commit, report) = Commit::new(self.config.on_store_error);
        let limit = after(Instant::now(), self.config.settings.commit_timeout);
        let mut report = Some(report);
        self.close(|revocation, call| {
            if let Some(report) = report.take() {
                revocation.end(call, limit, report);
            }
        });
        if let Some(report) = report {
            self.revoke_again(report);
        }
        commit
    }

    /// Tells the pending revocation what has become of the call, if it is still pending.
    fn close(&mut self, close: impl FnOnce(&mut PendingRevocation<Report>, JoinedCall)) {
        self.is_open = false;
        let mut state = shared(&self.config).lock();
        let Some(entry) = state.entries.get_mut(&self.task.key) else {
            return;
        };
        close(&mut entry.revocation, self.call);
        drop(state);
        self.task.wake();
    }

    /// Revokes the token by itself, since nothing is pending any more: it was revoked at the
    /// deadline, but may have been lifted since. The capacity is free again, so this lasts no longer
    /// than the response waits for it.
    fn revoke_again(&self, report: Report) {
        let settings = &self.config.settings;
        let limit = settings.commit_timeout;
        let write = self.task.key.revocation(self.exp, settings);
        // The task's runtime may have ended.
        let runtime = Handle::try_current().unwrap_or_else(|_| self.task.runtime.clone());
        runtime.spawn(async move {
            let in_time = timeout(limit, write.retry()).await.is_ok();
            let _ = report.send(in_time);
        });
    }
}

fn shared(config: &RevokeAfterResponseLayer) -> &Arc<Shared> {
    &config.settings.pending.shared
}

impl State {
    fn new_call(&mut self, config: &RevokeAfterResponseLayer) -> JoinedCall {
        self.calls += 1;
        JoinedCall {
            deadline: after(Instant::now(), config.deadline),
            id: self.calls,
        }
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if self.is_open {
            self.close(PendingRevocation::cancel);
        }
    }
}

/// Holds the end of a body back until the token is revoked.
impl OnEnd for PendingCall {
    type Hold = Commit;

    fn on_end(self, _: BodyEnd<'_>) -> Commit {
        self.end()
    }
}
