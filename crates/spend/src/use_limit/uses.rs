//! Takes a use before the call and returns it after, whatever becomes of the caller.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep, timeout};
use tower_revoke_core::{
    BoxFuture, Rejection, StoreError, UseOutcome,
    internal::{POLLED_AFTER_COMPLETION, PreparedUse},
};

use super::UseLimitLayer;
use crate::{
    commit::{Commit, OnStoreError, Write},
    notice::Notice,
    outcome_rule::OutcomeRule,
    pending::Reservation,
};

/// A use that is to be taken, and what its call has reserved.
#[derive(Debug)]
pub(crate) struct ReservedUse {
    pub(crate) prepared: PreparedUse,
    pub(crate) reservation: Reservation,
    pub(crate) notice: Option<Box<Notice>>,
    pub(crate) config: Arc<UseLimitLayer>,
}

impl ReservedUse {
    pub(crate) fn take(self) -> TakeUse {
        TakeUse {
            limit: sleep(self.config.settings.commit_timeout),
            pending: Some((self.prepared.take(), self)),
        }
    }

    /// Returns the use by its id, however long that takes. The [`Commit`] waits for the commit
    /// timeout.
    fn return_use(self) -> Commit {
        // The response is completed in any case: what is late is to the client's disadvantage only.
        let (commit, report) = Commit::new(OnStoreError::Deliver);
        let settings = &self.config.settings;
        let limit = settings.commit_timeout;
        let write = Write::return_use(&self.prepared, settings);
        self.reservation.run(async move {
            let mut work = pin!(write.retry());
            let in_time = timeout(limit, work.as_mut()).await.is_ok();
            let _ = report.send(in_time);
            if !in_time {
                work.await;
            }
        });
        commit
    }
}

/// A use that was taken. Dropped, it stays spent.
#[derive(Debug)]
pub(crate) struct TakenUse {
    reserved: ReservedUse,
    notice: SendOnDrop,
}

/// The notice that the last use was taken, unless that use is returned.
#[derive(Debug)]
struct SendOnDrop(Option<Box<Notice>>);

impl Drop for SendOnDrop {
    fn drop(&mut self) {
        if let Some(notice) = self.0.take() {
            notice.send();
        }
    }
}

impl TakenUse {
    fn new(mut reserved: ReservedUse, left: u32) -> Self {
        let notice = reserved.notice.take().filter(|_| left == 0);
        Self {
            reserved,
            notice: SendOnDrop(notice),
        }
    }

    /// Returns the use if a rule says so.
    pub(crate) fn settle<B, E>(mut self, result: &Result<Response<B>, E>) -> Option<Commit> {
        OutcomeRule::any_holds(&self.reserved.config.settings.free, result).then(|| {
            self.notice.0 = None;
            self.reserved.return_use()
        })
    }
}

pin_project! {
    /// Takes a use within the commit timeout. Dropped before, it goes on without its caller, who
    /// has spent the use.
    pub(crate) struct TakeUse {
        pending: Option<(BoxFuture<'static, Result<UseOutcome, StoreError>>, ReservedUse)>,
        #[pin]
        limit: Sleep,
    }

    impl PinnedDrop for TakeUse {
        fn drop(this: Pin<&mut Self>) {
            if let Some((call, reserved)) = this.project().pending.take() {
                let ReservedUse { reservation, notice, config, .. } = reserved;
                let limit = config.settings.commit_timeout;
                reservation.run(async move {
                    if let Ok(Ok(UseOutcome::Taken { left: 0 })) = timeout(limit, call).await {
                        drop(SendOnDrop(notice));
                    }
                });
            }
        }
    }
}

impl Future for TakeUse {
    type Output = Result<TakenUse, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (call, reserved) = this.pending.as_mut().expect(POLLED_AFTER_COMPLETION);
        let outcome = match call.as_mut().poll(cx) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => {
                ready!(this.limit.poll(cx));
                Err(StoreError::TimedOut(
                    reserved.config.settings.commit_timeout,
                ))
            }
        };
        let (_, reserved) = this.pending.take().expect(POLLED_AFTER_COMPLETION);
        let may_be_taken = outcome.as_ref().is_err_and(StoreError::is_ambiguous);
        Poll::Ready(match reserved.prepared.left(outcome) {
            Ok(left) => Ok(TakenUse::new(reserved, left)),
            Err(rejection) => {
                if may_be_taken {
                    drop(reserved.return_use());
                }
                Err(rejection)
            }
        })
    }
}
