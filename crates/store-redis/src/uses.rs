//! Takes uses: those that arrive while scripts are in flight are sent together in the next one.

use std::{collections::HashSet, num::NonZeroU32, sync::Arc};

use redis::Value;
use tokio::{runtime::Handle, time::timeout};
use tower_revoke_core::{StoreError, Use, UseOutcome};

use crate::{
    client::Request,
    error::{Failure, RedisStoreError},
    inner::Inner,
    queue::UseReply,
    scripts::SCRIPTS,
    value::bytes,
    wire::push_uses,
};

/// Bounds the time for which a script blocks the server to about a millisecond.
const MAX_BATCH: usize = 256;

impl Inner {
    pub(crate) async fn take_use(
        inner: &Arc<Inner>,
        tag: usize,
        use_: &Use,
    ) -> Result<UseOutcome, StoreError> {
        let answer = match inner.uses[tag].wait_or_go(use_) {
            None => {
                let slot = ScriptSlot {
                    inner: inner.clone(),
                    tag,
                };
                let answers = ask(inner, tag, std::slice::from_ref(use_)).await;
                drop(slot);
                match answers.map(|answers| answers.first().copied()) {
                    Ok(answer) => answer.ok_or(malformed()),
                    Err(failure) => Err(failure),
                }
            }
            Some(answer) => match timeout(inner.client.within, answer).await {
                Ok(Ok(answer)) => answer,
                // The runtime of the script's task was shut down.
                Ok(Err(_)) => Err(malformed()),
                Err(_) => Err(Failure::TimedOut(inner.client.within)),
            },
        };
        match answer {
            Ok(UseReply::Taken(left)) => Ok(UseOutcome::Taken { left }),
            Ok(UseReply::Spent) => Ok(UseOutcome::Spent),
            Ok(UseReply::LimitMismatch(stored)) => Err(StoreError::LimitMismatch {
                stored,
                asked: use_.limit.get(),
            }),
            Ok(UseReply::Expired) => Err(StoreError::Expired),
            Err(failure) => Err(Box::pin(inner.error(failure)).await),
        }
    }
}

/// A slot for a script in flight. Dropping it sends the waiting uses, also if the caller has left.
struct ScriptSlot {
    inner: Arc<Inner>,
    tag: usize,
}

impl ScriptSlot {
    /// Lets callers that were just answered join the next script, which is not worth sending for the
    /// few that are already waiting.
    async fn while_more_come(&self) {
        let uses = &self.inner.uses[self.tag];
        loop {
            let before = uses.queue().waiting.len();
            tokio::task::yield_now().await;
            let now = uses.queue().waiting.len();
            if now <= before || now >= MAX_BATCH {
                return;
            }
        }
    }
}

impl Drop for ScriptSlot {
    fn drop(&mut self) {
        let uses = &self.inner.uses[self.tag];
        let mut queue = uses.queue();
        // A caller that left takes no use.
        queue.waiting.retain(|(_, sender)| !sender.is_closed());
        let runtime = Handle::try_current();
        let (Ok(runtime), false) = (runtime, queue.waiting.is_empty()) else {
            queue.waiting.clear();
            queue.in_flight -= 1;
            return;
        };
        let next = queue.waiting.len().min(MAX_BATCH);
        let mut batch: Vec<_> = queue.waiting.drain(..next).collect();
        drop(queue);
        batch.sort_unstable_by_key(|(use_, _)| use_.until);
        // Made outside of the task, which a runtime that shuts down may drop before it starts.
        let slot = Self {
            inner: self.inner.clone(),
            tag: self.tag,
        };
        runtime.spawn(async move {
            let (uses, senders): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let answers = ask(&slot.inner, slot.tag, &uses).await;
            for (at, sender) in senders.into_iter().enumerate() {
                let answer = match &answers {
                    Ok(answers) => answers.get(at).copied().ok_or(malformed()),
                    Err(failure) => Err(failure.clone()),
                };
                // A caller that left either repeats the use under its id or never needs it.
                let _ = sender.send(answer);
            }
            slot.while_more_come().await;
        });
    }
}

/// Sends the script, and returns the replies in the order of the uses.
async fn ask(inner: &Inner, tag: usize, uses: &[Use]) -> Result<Vec<UseReply>, Failure> {
    let keys = inner.keys[tag].all();
    let trims = inner.trims(uses.len());
    let needs_all = trims.is_some() || !may_all_be_first(uses);
    let mut call = SCRIPTS
        .take_use
        .on(if needs_all { &keys } else { &keys[..2] });
    inner.stamped(&mut call, trims);
    push_uses(&mut call, uses);
    let answer = inner.client.ask(tag, &Request::write(call)).await?;
    // All were first uses of single-use tokens.
    if answer == Value::Int(1) {
        return Ok(vec![UseReply::Taken(0); uses.len()]);
    }
    let answers = bytes(&answer).chunks_exact(5).map(|answer| {
        let number = u32::from_be_bytes([answer[1], answer[2], answer[3], answer[4]]);
        Some(match answer[0] {
            b'W' => UseReply::Taken(number),
            b'S' => UseReply::Spent,
            b'O' => UseReply::LimitMismatch(number),
            b'P' => UseReply::Expired,
            _ => return None,
        })
    });
    answers.collect::<Option<_>>().ok_or_else(malformed)
}

/// Whether they are uses of distinct single-use tokens.
fn may_all_be_first(uses: &[Use]) -> bool {
    let mut seen = HashSet::with_capacity(uses.len());
    let mut uses = uses.iter();
    uses.all(|use_| use_.limit == NonZeroU32::MIN && seen.insert(use_.token))
}

fn malformed() -> Failure {
    RedisStoreError::Malformed("the answer to a use").into()
}
