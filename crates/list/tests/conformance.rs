//! The memory store keeps every clause of the contract.

use tower_revoke_core::Clock;
use tower_revoke_list::MemoryStore;
use tower_revoke_testing::{
    conformance::{Ability, Ground},
    store_conformance,
};

struct Memory(MemoryStore);

impl Ground for Memory {
    type Store = MemoryStore;

    const LACKS: &'static [(Ability, &'static str)] = &[
        (Ability::Restart, "it ends with its process"),
        (Ability::Outage, "there is no server"),
        (Ability::Freeze, "there is no server"),
        (Ability::SetBack, "there is no backup"),
    ];

    async fn empty(clock: Clock) -> Self {
        Self(MemoryStore::with_clock(clock))
    }

    async fn open(&self) -> MemoryStore {
        self.0.clone()
    }
}

store_conformance!(Memory);
