//! This project's stack, over a list with entries.

use tower::ServiceBuilder;
use tower_revoke::{
    Algorithm, JwtVerifier, MemoryStore, MonitorLayer, PreserveAuthorizationLayer,
    RequireBearerLayer, Revocation, RevocationList, TokenId, core::Store,
};
use tower_revoke_testing::TestIssuer;

use crate::{
    peers::{boxed, route},
    target::Target,
    tokens::{AUDIENCE, ISSUER, Tokens},
};

/// A list in memory, with `entries` that concern no token, and the one that is to be refused.
pub async fn store(entries: u64) -> MemoryStore {
    const AT_ONCE: u64 = 10_000;
    let store = MemoryStore::new();
    let other = |number: u64| {
        // Spread as a hash is.
        let word = |salt: u64| (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ salt);
        let words = [word(0), word(2)].map(|word| (word ^ word >> 29).to_le_bytes());
        let id = words.concat().try_into().expect("two words are 16 bytes");
        Revocation::of_token(TokenId::from_bytes(id), None)
    };
    for first in (0..entries).step_by(AT_ONCE as usize) {
        let part: Vec<_> = (first..entries.min(first + AT_ONCE)).map(other).collect();
        store.revoke(&part).await.expect("a store in memory");
    }
    let revoked = Revocation::of_token(Tokens::revoked_id(), None);
    store.revoke(&[revoked]).await.expect("a store in memory");
    assert_eq!(store.len(), entries + 1, "no two ids are alike");
    store
}

/// How many tokens are remembered.
#[derive(Clone, Copy)]
pub enum Cache {
    /// As many as by default.
    Default,
    /// None, so that each is verified each time.
    None,
    /// So few that they make room for each other.
    Of(usize),
}

/// The whole stack, over a list of its own that shares `store`.
pub fn stack(issuer: &TestIssuer, store: &MemoryStore, cache: Cache) -> Box<dyn Target> {
    let layers = ServiceBuilder::new()
        .layer(PreserveAuthorizationLayer::new())
        .layer(bearer(issuer, store, cache));
    boxed(route().layer(layers))
}

/// The whole stack, and the layer that counts calls by client around it.
pub fn monitored(issuer: &TestIssuer, store: &MemoryStore) -> Box<dyn Target> {
    let layers = ServiceBuilder::new()
        .layer(PreserveAuthorizationLayer::new())
        .layer(MonitorLayer::service("orders"))
        .layer(bearer(issuer, store, Cache::Default));
    boxed(route().layer(layers))
}

fn bearer(
    issuer: &TestIssuer,
    store: &MemoryStore,
    cache: Cache,
) -> RequireBearerLayer<JwtVerifier> {
    let list = RevocationList::builder(store.clone());
    let list = match cache {
        Cache::Of(entries) => list.answers(entries as u64),
        Cache::Default | Cache::None => list,
    };
    let verifier = JwtVerifier::issuer(ISSUER).audience(AUDIENCE);
    let verifier = match issuer.algorithm().is_symmetric() {
        true => verifier.secret(Algorithm::HS256, issuer.secret()),
        false => verifier.jwks(issuer.jwks().to_string()),
    };
    let verifier = match cache {
        Cache::Default => verifier,
        Cache::None => verifier.no_cache(),
        Cache::Of(entries) => verifier.cache(entries),
    };
    let verifier = verifier.revocations(list.build()).build();
    RequireBearerLayer::new(verifier.expect("a valid configuration"))
}
