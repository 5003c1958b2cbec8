//! Writes to the list: tried again until they are recorded, and waited for until the commit timeout.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use tower_revoke_core::{
    BoxError, Revocation, Revocations, StoreError, TokenId, UnixTime, Use,
    internal::{OutageLog, PreparedUse},
    retention,
};

use crate::settings::Settings;

pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(25);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A write that follows a response.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    list: Arc<dyn Revocations>,
    operation: Operation,
    attempt_timeout: Duration,
    outage: Arc<OutageLog>,
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Revoke(TokenId, Option<UnixTime>),
    ReturnUse(Use),
}

impl Write {
    /// The revocation of a token that expires at `exp`.
    pub(crate) fn revoke(
        list: Arc<dyn Revocations>,
        token: TokenId,
        exp: Option<UnixTime>,
        settings: &Settings,
    ) -> Self {
        Self::new(list, Operation::Revoke(token, exp), settings)
    }

    pub(crate) fn return_use(prepared: &PreparedUse, settings: &Settings) -> Self {
        let operation = Operation::ReturnUse(*prepared.use_());
        Self::new(prepared.list().clone(), operation, settings)
    }

    fn new(list: Arc<dyn Revocations>, operation: Operation, settings: &Settings) -> Self {
        Self {
            list,
            operation,
            attempt_timeout: settings.commit_timeout,
            outage: settings.outage.clone(),
        }
    }

    /// Tries until the write is recorded or not needed any more.
    pub(crate) async fn retry(self) {
        let mut pause = FIRST_PAUSE;
        while !self.attempt().await {
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Tries once. Returns whether the write is recorded, or not needed any more since no verifier
    /// accepts the token.
    pub(crate) async fn attempt(&self) -> bool {
        let list = self.list.clone();
        let call = async {
            match self.operation {
                Operation::Revoke(token, exp) => {
                    let revocation = Revocation::of_spent_token(token, exp);
                    list.revoke(revocation.because("response delivered")).await
                }
                Operation::ReturnUse(use_) => list.return_use(use_).await.map(drop),
            }
        };
        let error = match timeout(self.attempt_timeout, call).await {
            Ok(Ok(())) => {
                if self.outage.works() {
                    tracing::info!(
                        target: "tower_revoke::spend",
                        "writes to the revocation list succeed again"
                    );
                }
                return true;
            }
            Ok(Err(error)) => error,
            Err(_) => StoreError::TimedOut(self.attempt_timeout),
        };
        self.log(&error);
        let until = match self.operation {
            Operation::Revoke(_, exp) => retention::of_token(exp),
            Operation::ReturnUse(use_) => use_.until,
        };
        // The wall clock alone may have been set ahead, and may be set back again.
        let clock = self.list.clock();
        retention::has_ended(until, clock.now().min(clock.steady_now()))
    }

    /// An outage fails every pending write again and again: one line a minute is an error.
    fn log(&self, error: &(dyn std::error::Error + 'static)) {
        let (write, token) = match self.operation {
            Operation::Revoke(token, _) => ("revocation", token),
            Operation::ReturnUse(use_) => ("return of a use", use_.token),
        };
        match self.outage.failed(self.list.clock().uptime()) {
            Some(count) => {
                tracing::error!(
                    target: "tower_revoke::spend",
                    %token,
                    error,
                    count,
                    "a {write} is not recorded yet, will retry"
                );
            }
            None => tracing::debug!(
                target: "tower_revoke::spend",
                %token,
                error,
                "a {write} is not recorded yet, will retry"
            ),
        }
    }
}

/// What becomes of a response whose token could not be revoked in time.
///
/// Either way the layer keeps trying until the revocation is recorded or the token has expired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnStoreError {
    /// The response is not completed: 500 if its head is still to come, otherwise the body is cut
    /// off. A client that has a whole response has a revoked token.
    #[default]
    CutOff,
    /// The response is completed. The token stays valid until the store is back.
    Deliver,
}

/// The error of a body that was cut off: the revocation of its token was not recorded in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the revocation of the token was not recorded in time")]
pub struct CommitError;

/// Waits until a write is recorded or late.
#[derive(Debug)]
pub struct Commit {
    recorded: oneshot::Receiver<bool>,
    on_store_error: OnStoreError,
}

impl Commit {
    /// The sender says whether the write was recorded in time.
    pub(crate) fn new(on_store_error: OnStoreError) -> (Self, oneshot::Sender<bool>) {
        let (report, recorded) = oneshot::channel();
        let commit = Self {
            recorded,
            on_store_error,
        };
        (commit, report)
    }
}

impl Future for Commit {
    type Output = Result<(), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Without a report the runtime that did the work has ended.
        let is_recorded = ready!(Pin::new(&mut self.recorded).poll(cx)).unwrap_or(false);
        Poll::Ready(match (is_recorded, self.on_store_error) {
            (true, _) | (_, OnStoreError::Deliver) => Ok(()),
            (false, OnStoreError::CutOff) => Err(CommitError.into()),
        })
    }
}
