//! What a call owes the list, and the work that sees it written down whatever becomes of the call.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::{
    sync::oneshot,
    time::{Sleep, sleep, timeout},
};
use tower_revoke_core::{
    BoxError, BoxFuture, Reason, Rejection, RemoteSlot, Revocations, StoreError, TokenCopy,
    TokenId, UnixTime, Use, UseOutcome, retention,
};

use crate::{OnStoreError, config::Config, slots::Slot};

/// One call's token, its list, and the slot that its work will run in.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) token: TokenId,
    pub(crate) exp: Option<UnixTime>,
    pub(crate) list: Arc<dyn Revocations>,
    pub(crate) slot: Slot,
    pub(crate) remote: Option<Box<Remote>>,
    pub(crate) config: Arc<Config>,
}

/// The authorization servers that are told when the token has ended.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) token: TokenCopy,
    pub(crate) slots: Vec<RemoteSlot>,
}

pub(crate) fn tell_servers(remote: Option<Box<Remote>>) {
    if let Some(remote) = remote {
        for slot in remote.slots {
            slot.send(remote.token.clone());
        }
    }
}

/// Does `work` to its end, and reports whether it was done in time.
async fn report_within(
    limit: Duration,
    mut work: Pin<&mut impl Future<Output = ()>>,
    report: oneshot::Sender<bool>,
) {
    let in_time = timeout(limit, work.as_mut()).await.is_ok();
    let _ = report.send(in_time);
    if !in_time {
        work.await;
    }
}

/// A use that was won.
#[derive(Debug)]
pub(crate) struct TakenUse {
    use_: Use,
    account: Option<Account>,
    is_last: bool,
}

impl TakenUse {
    /// Gives it back. Done when that is written down; if it can't be, the use stays spent.
    pub(crate) fn return_rule(mut self) -> Option<Settle> {
        let account = self.account.take()?;
        let (settle, report) = Settle::new(OnStoreError::Deliver);
        return_use(account, self.use_, report);
        Some(settle)
    }
}

/// Committed, or abandoned: the right to returns it is gone, and if it was the last use, the
/// authorization server learns of it.
impl Drop for TakenUse {
    fn drop(&mut self) {
        if let (Some(account), true) = (&mut self.account, self.is_last) {
            tell_servers(account.remote.take());
        }
    }
}

fn return_use(account: Account, use_: Use, report: oneshot::Sender<bool>) {
    let Account {
        token,
        list,
        slot,
        config,
        ..
    } = account;
    slot.run(async move {
        let release = || list.clone().return_use(use_);
        let work = pin!(insist("release", token, use_.until, &config, release));
        report_within(config.commit_timeout, work, report).await;
    });
}

pin_project! {
    /// A use on its way. Dropped, it is brought to its end without the caller.
    pub(crate) struct TakingUse {
        use_: Use,
        pending: Option<(BoxFuture<'static, Result<UseOutcome, StoreError>>, Account)>,
        #[pin]
        limit: Sleep,
    }

    impl PinnedDrop for TakingUse {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some((call, account)) = this.pending.take() {
                let Account { slot, remote, config, .. } = account;
                slot.run(async move {
                    let outcome = timeout(config.commit_timeout, call).await;
                    if let Ok(Ok(UseOutcome::Taken { left: 0 })) = outcome {
                        tell_servers(remote);
                    }
                });
            }
        }
    }
}

impl TakingUse {
    pub(crate) fn new(use_: Use, account: Account) -> Self {
        Self {
            use_,
            limit: sleep(account.config.commit_timeout),
            pending: Some((account.list.clone().take_use(use_), account)),
        }
    }
}

impl Future for TakingUse {
    type Output = Result<TakenUse, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some((call, account)) = this.pending else {
            return Poll::Pending;
        };
        let outcome = match call.as_mut().poll(cx) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => {
                ready!(this.limit.poll(cx));
                Err(StoreError::TimedOut(account.config.commit_timeout))
            }
        };
        let Some((_, account)) = this.pending.take() else {
            return Poll::Pending;
        };
        let token = account.token;
        Poll::Ready(match outcome {
            Ok(UseOutcome::Taken { left }) => Ok(TakenUse {
                use_: *this.use_,
                account: Some(account),
                is_last: left == 0,
            }),
            Ok(UseOutcome::Spent) => Err(Rejection::new(Reason::Spent).token(token)),
            Err(error) => {
                // The use may have been taken all the same: it is returned by its id.
                if matches!(error, StoreError::Unavailable(_) | StoreError::TimedOut(_)) {
                    let (_, report) = Settle::new(OnStoreError::Deliver);
                    return_use(account, *this.use_, report);
                }
                Err(Rejection::from(error).token(token))
            }
        })
    }
}

/// Asks until it is done, or until `until`, when nobody accepts the token any more.
pub(crate) async fn insist<T>(
    what: &'static str,
    token: TokenId,
    until: Option<UnixTime>,
    config: &Config,
    call: impl Fn() -> BoxFuture<'static, Result<T, StoreError>>,
) {
    let mut pause = Duration::from_millis(25);
    while !ask(what, token, until, config, call()).await {
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// Asks once. `false` if it has to be asked again.
pub(crate) async fn ask<T>(
    what: &'static str,
    token: TokenId,
    until: Option<UnixTime>,
    config: &Config,
    call: impl Future<Output = Result<T, StoreError>>,
) -> bool {
    let error = match timeout(config.commit_timeout, call).await {
        Ok(Ok(_)) => {
            if config.outage.works() {
                tracing::info!("the list takes what is owed again");
            }
            return true;
        }
        Ok(Err(error)) => error,
        Err(_) => StoreError::TimedOut(config.commit_timeout),
    };
    log_owed(what, token, config, &error);
    // The wall clock alone may have been set ahead, and back again later.
    let now = config.clock.now().min(config.clock.steady_now());
    retention::has_ended(until, now)
}

/// Logs a try that failed: all that is owed is tried again and again while a store is down.
fn log_owed(
    what: &'static str,
    token: TokenId,
    config: &Config,
    error: &(dyn std::error::Error + 'static),
) {
    match config.outage.failed(config.clock.uptime()) {
        Some(count) => tracing::error!(%token, error, count, "a {what} is still owed"),
        None => tracing::debug!(%token, error, "a {what} is still owed"),
    }
}

/// Waits until what is owed is written down, or known to be late.
#[derive(Debug)]
pub(crate) struct Settle {
    paid: oneshot::Receiver<bool>,
    on_store_error: OnStoreError,
}

/// The end of a token could not be written down in time; the client must not take what it has for
/// a whole response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the end of the token could not be recorded in time")]
pub struct NotRecorded;

impl Settle {
    pub(crate) fn new(on_store_error: OnStoreError) -> (Self, oneshot::Sender<bool>) {
        let (report, paid) = oneshot::channel();
        let settle = Self {
            paid,
            on_store_error,
        };
        (settle, report)
    }
}

impl Future for Settle {
    type Output = Result<(), NotRecorded>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // An error: the runtime that would have paid is gone.
        let paid = ready!(Pin::new(&mut self.paid).poll(cx)).unwrap_or(false);
        Poll::Ready(match (paid, self.on_store_error) {
            (true, _) | (_, OnStoreError::Deliver) => Ok(()),
            (false, OnStoreError::CutOff) => Err(NotRecorded),
        })
    }
}

/// [`Settle`], as the end of a body wants it.
#[derive(Debug)]
pub(crate) struct Hold(pub(crate) Settle);

impl Future for Hold {
    type Output = Result<(), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(BoxError::from)
    }
}
