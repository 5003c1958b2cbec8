//! The memory store passes the conformance suite.

use tower_revoke_core::Clock;
use tower_revoke_list::MemoryStore;
use tower_revoke_testing::{
    conformance::{Ability, Fault, Fixture},
    store_conformance,
};

struct Memory(MemoryStore);

impl Fixture for Memory {
    type Store = MemoryStore;

    const LACKS: &'static [(Ability, &'static str)] = &[
        (Ability::Restart, "it ends with its process"),
        (Ability::Outage, "there is no server"),
        (Ability::Freeze, "there is no server"),
        (
            Ability::Push,
            "it lives in one process, where nobody has to wait",
        ),
        (Ability::SetBack, "there is no backup"),
    ];

    async fn empty(_: Clock) -> Self {
        Self(MemoryStore::new())
    }

    async fn open(&self) -> MemoryStore {
        self.0.clone()
    }

    async fn inject(&self, fault: Fault) {
        assert_eq!(fault, Fault::Trim, "the only fault");
        // Clones share their data: the capacity is set to zero and back.
        let _ = self.0.clone().feed_capacity(0).feed_capacity(65_536);
    }
}

store_conformance!(Memory);
