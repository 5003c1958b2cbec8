//! Tests a list that mirrors its store: what it answers from memory, and what it does when the feed
//! breaks or the store loses data.

mod broken;
mod follow;
mod model;
mod overload;
mod own;
#[cfg(feature = "metrics")]
mod series;
mod snapshot;
mod went_back;

use std::{error::Error, time::Duration};

use tower_revoke_core::{Clock, ManualClock, ReadyError, StoreError, TokenStatus, VerifiedToken};
use tower_revoke_list::{MirrorState, RevocationList, RevocationListBuilder};
use tower_revoke_testing::{ScriptedStore, StoreOp, StoreScript};

use crate::support::{ISSUED, server::Server};

const MAX_STALENESS: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Returns the timeout that kept the list from being ready, if there was one.
fn timed_out(error: &ReadyError) -> Option<Duration> {
    match error.source()?.downcast_ref()? {
        StoreError::TimedOut(limit) => Some(*limit),
        _ => None,
    }
}

/// The server and the clock that all nodes share.
struct World {
    server: Server,
    clock: Clock,
    hand: ManualClock,
}

impl World {
    fn new() -> Self {
        let (clock, hand) = Clock::manual(ISSUED);
        Self {
            server: Server::new(),
            clock,
            hand,
        }
    }

    fn node(&self) -> Node {
        self.node_with(|builder| builder)
    }

    fn node_with(
        &self,
        with: impl FnOnce(
            RevocationListBuilder<ScriptedStore<Server>>,
        ) -> RevocationListBuilder<ScriptedStore<Server>>,
    ) -> Node {
        let (store, script) = ScriptedStore::over(self.server.clone());
        let builder = RevocationList::builder(store)
            .max_staleness(MAX_STALENESS)
            .store_timeout(ANSWER_WITHIN)
            .clock(self.clock.clone());
        Node {
            list: with(builder).build().unwrap(),
            script,
        }
    }

    async fn ready_node(&self) -> Node {
        let node = self.node();
        node.list.ready().await.unwrap();
        assert_eq!(node.list.stats().mirror, MirrorState::Live);
        node
    }

    /// Lets time pass, on the clock of the nodes too.
    async fn passes(&self, time: Duration) {
        const MILLISECOND: Duration = Duration::from_millis(1);
        for _ in 0..time.as_millis() {
            self.hand.advance(MILLISECOND);
            tokio::time::sleep(MILLISECOND).await;
        }
    }
}

struct Node {
    list: RevocationList,
    script: StoreScript,
}

impl Node {
    /// Waits until the result of a feed call that begins from now on is applied: the call after it
    /// begins only then.
    async fn polled(&self) {
        let calls = self.script.calls(StoreOp::Changes);
        let two = self.script.called(StoreOp::Changes, calls + 2);
        // A broken list fails here instead of hanging.
        let in_time = tokio::time::timeout(Duration::from_secs(3_600), two).await;
        in_time.expect("the feed is not followed");
    }

    /// Waits until the mirror reaches this state.
    async fn becomes(&self, state: MirrorState) {
        for _ in 0..1_000 {
            if self.list.stats().mirror == state {
                return;
            }
            // With paused time, all other tasks run first.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{:?}, not {state:?}", self.list.stats());
    }

    fn asked(&self) -> u64 {
        self.script.calls(StoreOp::LookUp)
    }

    async fn status(&self, token: &VerifiedToken) -> TokenStatus {
        self.list.status(token).await.unwrap()
    }
}
