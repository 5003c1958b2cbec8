//! The store in the docs of `Store` passes every clause that applies without a feed.

use tower_revoke_core::Clock;
use tower_revoke_testing::{
    conformance::{Ability, Fixture},
    store_conformance,
};

include!("../../../core/src/store/minimal.rs");

impl Fixture for MinimalStore {
    type Store = Self;

    const LACKS: &'static [(Ability, &'static str)] = &[
        (Ability::Feed, "it shows how little a store needs"),
        (Ability::IssuedTokens, "it shows how little a store needs"),
        (Ability::Records, "it shows how little a store needs"),
        (Ability::Restart, "it ends with its process"),
        (Ability::Outage, "there is no server"),
        (Ability::Freeze, "there is no server"),
    ];

    async fn empty(_: Clock) -> Self {
        Self::default()
    }

    async fn open(&self) -> Self {
        self.clone()
    }
}

store_conformance!(MinimalStore);
