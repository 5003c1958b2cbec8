//! Tests the purges that a list starts by itself.

use std::time::Duration;

use tokio::time::sleep;
use tower_revoke_core::Clock;
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_testing::{Behavior, ScriptedStore, StoreOp};

use crate::support::{ISSUED, end_of, token};

const MINUTE: Duration = Duration::from_secs(60);

/// TRAPS 55: purges that take longer than their interval pile up.
#[tokio::test(start_paused = true)]
async fn trap_55_a_purge_that_never_ends_is_the_only_one_for_an_hour() {
    let (clock, hand) = Clock::manual(ISSUED);
    let (store, script) = ScriptedStore::over(MemoryStore::new());
    let list = RevocationList::builder(store).clock(clock).build().unwrap();
    script.set(StoreOp::Purge, Behavior::Frozen);
    let minute = async |number: u32| {
        hand.advance(MINUTE);
        let revocation = end_of(&token(&number.to_string()));
        list.revoke(revocation).await.unwrap();
        sleep(MINUTE).await;
    };
    for number in 0..59 {
        minute(number).await;
        assert_eq!(script.calls(StoreOp::Purge), 1, "in minute {number}");
    }
    // It times out, and the next one completes.
    minute(59).await;
    script.set(StoreOp::Purge, Behavior::Works);
    minute(60).await;
    minute(61).await;
    assert_eq!(script.calls(StoreOp::Purge), 3);
    assert_eq!(list.stats().failures, 1);
}
