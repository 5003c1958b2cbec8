//! Uses that wait for the scripts of one tag that are under way.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tower_revoke_core::Use;

use crate::error::Failure;

/// So many scripts of one tag are under way at once; further uses wait and go together.
const MAX_IN_FLIGHT: usize = 2;

/// The uses of one tag.
#[derive(Debug, Default)]
pub(crate) struct UseQueue(Mutex<Queue>);

#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) waiting: Vec<(Use, oneshot::Sender<Result<UseReply, Failure>>)>,
    pub(crate) in_flight: usize,
}

/// What the script said of one use.
#[derive(Clone, Copy, Debug)]
pub(crate) enum UseReply {
    Taken(u32),
    Spent,
    LimitMismatch(u32),
    Expired,
}

impl UseQueue {
    /// `None`: the caller goes at once.
    pub(crate) fn wait_or_go(
        &self,
        use_: &Use,
    ) -> Option<oneshot::Receiver<Result<UseReply, Failure>>> {
        let mut queue = self.queue();
        if queue.in_flight < MAX_IN_FLIGHT {
            queue.in_flight += 1;
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        queue.waiting.push((*use_, sender));
        Some(receiver)
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
