//! Claims that wait for the server go to it together: one script for all that came meanwhile.

use std::{
    collections::HashSet,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redis::Value;
use tokio::{runtime::Handle, sync::oneshot, time::timeout};
use tower_revoke_core::{Claim, ClaimOutcome, StoreError};

use crate::{
    RedisStoreError, ask::Question, error::Failure, scripts::SCRIPTS, store::Inner, value::bytes,
    wire::push_claims,
};

/// So many scripts of one tag are under way at once; further claims wait and go together.
const UNDER_WAY: usize = 2;

/// A script holds the server up for as long as it runs: about a millisecond.
const AT_ONCE: usize = 256;

/// The claims of one tag.
#[derive(Debug, Default)]
pub(crate) struct Claims(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<(Claim, oneshot::Sender<Result<Answer, Failure>>)>,
    under_way: usize,
}

/// What the script said of one claim.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Won(u32),
    Spent,
    OtherLimit(u32),
    Past,
}

impl Claims {
    pub(crate) async fn claim(
        inner: &Arc<Inner>,
        tag: usize,
        claim: &Claim,
    ) -> Result<ClaimOutcome, StoreError> {
        let answer = match inner.claims[tag].wait_or_go(claim) {
            None => {
                let turn = Turn {
                    inner: inner.clone(),
                    tag,
                };
                let answers = ask(inner, tag, std::slice::from_ref(claim)).await;
                drop(turn);
                match answers.map(|answers| answers.first().copied()) {
                    Ok(answer) => answer.ok_or(garbled()),
                    Err(failure) => Err(failure),
                }
            }
            Some(answer) => match timeout(inner.asker.within, answer).await {
                Ok(Ok(answer)) => answer,
                // Its runtime has ended.
                Ok(Err(_)) => Err(garbled()),
                Err(_) => Err(Failure::TimedOut(inner.asker.within)),
            },
        };
        match answer {
            Ok(Answer::Won(left)) => Ok(ClaimOutcome::Won { left }),
            Ok(Answer::Spent) => Ok(ClaimOutcome::Spent),
            Ok(Answer::OtherLimit(stored)) => Err(StoreError::OtherLimit {
                stored,
                asked: claim.limit.get(),
            }),
            Ok(Answer::Past) => Err(StoreError::LifeIsPast),
            Err(failure) => Err(inner.error(failure).await),
        }
    }

    /// `None`: the caller goes at once.
    fn wait_or_go(&self, claim: &Claim) -> Option<oneshot::Receiver<Result<Answer, Failure>>> {
        let mut queue = self.queue();
        if queue.under_way < UNDER_WAY {
            queue.under_way += 1;
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        queue.waiting.push((*claim, sender));
        Some(receiver)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to have a script under way; passed on to those who wait, also by a caller who left.
struct Turn {
    inner: Arc<Inner>,
    tag: usize,
}

impl Turn {
    /// Who was just answered asks again at once, and goes with the next script: it is not worth its
    /// while for those few who waited already.
    async fn while_more_come(&self) {
        let claims = &self.inner.claims[self.tag];
        loop {
            let before = claims.queue().waiting.len();
            tokio::task::yield_now().await;
            let now = claims.queue().waiting.len();
            if now <= before || now >= AT_ONCE {
                return;
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let claims = &self.inner.claims[self.tag];
        let mut queue = claims.queue();
        // Who has left before the claim was made makes none.
        queue.waiting.retain(|(_, sender)| !sender.is_closed());
        let runtime = Handle::try_current();
        let (Ok(runtime), false) = (runtime, queue.waiting.is_empty()) else {
            queue.waiting.clear();
            queue.under_way -= 1;
            return;
        };
        let next = queue.waiting.len().min(AT_ONCE);
        let mut batch: Vec<_> = queue.waiting.drain(..next).collect();
        drop(queue);
        batch.sort_unstable_by_key(|(claim, _)| claim.until);
        // Made here: a runtime that ends may drop the task before it begins.
        let turn = Self {
            inner: self.inner.clone(),
            tag: self.tag,
        };
        runtime.spawn(async move {
            let (claims, senders): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let answers = ask(&turn.inner, turn.tag, &claims).await;
            for (at, sender) in senders.into_iter().enumerate() {
                let answer = match &answers {
                    Ok(answers) => answers.get(at).copied().ok_or(garbled()),
                    Err(failure) => Err(failure.clone()),
                };
                // Who has left meanwhile asks again under the same id, or not at all.
                let _ = sender.send(answer);
            }
            turn.while_more_come().await;
        });
    }
}

/// The answers, in the order of the claims.
async fn ask(inner: &Inner, tag: usize, claims: &[Claim]) -> Result<Vec<Answer>, Failure> {
    let keys = &inner.keys[tag];
    let mut of = vec![keys.uses.as_str(), &keys.feed];
    let trims = inner.trims(claims.len());
    if trims.is_some() || !may_all_be_first(claims) {
        of.extend([keys.meta.as_str(), &keys.held, &keys.uses_index]);
    }
    let mut call = SCRIPTS.claim.on(&of);
    inner.stamped(&mut call, trims);
    push_claims(&mut call, claims);
    let answer = inner.asker.ask(tag, &Question::write(call)).await?;
    // Each is the first of a single use.
    if answer == Value::Int(1) {
        return Ok(vec![Answer::Won(0); claims.len()]);
    }
    let answers = bytes(&answer).chunks_exact(5).map(|answer| {
        let number = u32::from_be_bytes([answer[1], answer[2], answer[3], answer[4]]);
        Some(match answer[0] {
            b'W' => Answer::Won(number),
            b'S' => Answer::Spent,
            b'O' => Answer::OtherLimit(number),
            b'P' => Answer::Past,
            _ => return None,
        })
    });
    answers.collect::<Option<_>>().ok_or_else(garbled)
}

/// Whether they are claims of single uses, of one token each.
fn may_all_be_first(claims: &[Claim]) -> bool {
    let mut seen = HashSet::with_capacity(claims.len());
    let mut claims = claims.iter();
    claims.all(|claim| claim.limit == NonZeroU32::MIN && seen.insert(claim.token))
}

fn garbled() -> Failure {
    RedisStoreError::Garbled("the answer to a claim").into()
}
