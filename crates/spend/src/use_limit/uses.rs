//! Takes a use before the call and returns it after, whatever becomes of the caller.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::FutureExt;
use http::Response;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep, timeout};
use tower_revoke_core::{
    BoxFuture, Rejection, StoreError, UseOutcome,
    internal::{POLLED_AFTER_COMPLETION, PreparedUse},
    retention,
};

use super::UseLimitLayer;
use crate::{
    commit::{Commit, FIRST_PAUSE, LONGEST_PAUSE, OnStoreError, Write},
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

    /// Goes on taking the use after the caller has left. If an authorization server is to be told, it is
    /// taken under its id until it is known whether it was the last.
    fn take_alone(self, mut call: BoxFuture<'static, Result<UseOutcome, StoreError>>) {
        let Self {
            prepared,
            reservation,
            notice,
            config,
        } = self;
        let limit = config.settings.commit_timeout;
        reservation.run(async move {
            let Some(notice) = notice else {
                // No server is to be told, so the outcome doesn't matter.
                return drop(timeout(limit, call).await);
            };
            let mut pause = FIRST_PAUSE;
            loop {
                match timeout(limit, call).await {
                    Ok(Ok(UseOutcome::Taken { left: 0 })) => return notice.send().await,
                    Ok(Err(error)) if error.is_ambiguous() => {}
                    Err(_) => {}
                    Ok(_) => return,
                }
                let clock = prepared.list().clock();
                let now = clock.now().min(clock.steady_now());
                if retention::has_ended(prepared.use_().until, now) {
                    return;
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                call = prepared.take();
            }
        });
    }

    /// Returns the use by its id, however long that takes. The [`Commit`] waits for the commit
    /// timeout.
    fn return_use(self) -> Commit {
        let write = Write::return_use(&self.prepared, &self.config.settings);
        // The response is completed in any case: what is late is to the client's disadvantage only.
        self.finish(write.retry(), OnStoreError::Deliver)
    }

    /// Owes the token to the authorization servers, of which its last use was taken. `None` if nothing
    /// has to be waited for.
    fn owe(mut self) -> Option<Commit> {
        let mut kept = Box::pin(self.notice.take()?.send());
        let is_kept = kept.as_mut().now_or_never().is_some();
        (!is_kept).then(|| self.finish(kept, OnStoreError::CutOff))
    }

    /// Does the work, however long it takes. The [`Commit`] waits for the commit timeout.
    fn finish(
        self,
        work: impl Future<Output = ()> + Send + 'static,
        on_store_error: OnStoreError,
    ) -> Commit {
        let (commit, report) = Commit::new(on_store_error);
        let limit = self.config.settings.commit_timeout;
        self.reservation.run(async move {
            let mut work = pin!(work);
            let in_time = timeout(limit, work.as_mut()).await.is_ok();
            let _ = report.send(in_time);
            if !in_time {
                work.await;
            }
        });
        commit
    }
}

/// A use that was taken, and its notice if it was the last. Dropped, it stays spent.
#[derive(Debug)]
pub(crate) struct TakenUse(Option<ReservedUse>);

impl TakenUse {
    fn new(mut reserved: ReservedUse, left: u32) -> Self {
        if left > 0 {
            reserved.notice = None;
        }
        Self(Some(reserved))
    }

    /// Returns whether an authorization server is told, for which the response may have to wait.
    pub(crate) fn is_owed(&self) -> bool {
        let reserved = self.0.as_ref();
        reserved.is_some_and(|reserved| reserved.notice.is_some())
    }

    /// Returns the use if a rule says so, and owes the token otherwise.
    pub(crate) fn settle<B, E>(mut self, result: &Result<Response<B>, E>) -> Option<Commit> {
        let reserved = self.0.take()?;
        if OutcomeRule::any_holds(&reserved.config.settings.free, result) {
            return Some(reserved.return_use());
        }
        reserved.owe()
    }
}

/// The caller has left: the token is owed all the same.
impl Drop for TakenUse {
    fn drop(&mut self) {
        if let Some(reserved) = self.0.take() {
            drop(reserved.owe());
        }
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
                reserved.take_alone(call);
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
