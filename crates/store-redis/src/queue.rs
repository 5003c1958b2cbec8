//! The uses that wait while the scripts of their tag are in flight.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tower_revoke_core::Use;

use crate::error::Failure;

/// The number of scripts of one tag in flight. Further uses wait, and are sent together.
const MAX_IN_FLIGHT: usize = 2;

/// The uses of one tag.
#[derive(Debug, Default)]
pub(crate) struct UseQueue(Mutex<Queue>);

#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) waiting: Vec<(Use, oneshot::Sender<Result<UseReply, Failure>>)>,
    pub(crate) in_flight: usize,
}

/// The reply of the script for one use.
#[derive(Clone, Copy, Debug)]
pub(crate) enum UseReply {
    Taken(u32),
    Spent,
    LimitMismatch(u32),
    Expired,
}

impl UseQueue {
    /// Queues a use; `None` if the caller has a slot and sends it itself.
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
