//! This project's stack, over a list with entries.

use tower::ServiceBuilder;
use tower_revoke::{
    Algorithm, JwtVerifier, MemoryStore, MonitorLayer, PreserveAuthorizationLayer,
    RequireBearerLayer, Revocation, RevocationList, TokenId, core::Store,
};
use tower_revoke_testing::TestIssuer;

use crate::{
    rounds::{Contender, Kind, Plan},
    router::{boxed, route},
    target::Target,
    tokens::{AUDIENCE, ISSUER, Tokens},
};

/// How many entries the longer of the two lists has that every row is measured with.
pub const LISTED: u64 = 100_000;

/// The rows of this project, for `count` tokens in turn and lists of these stores.
pub fn rows(
    issuer: &TestIssuer,
    (short, listed): (&MemoryStore, &MemoryStore),
    large: Option<&MemoryStore>,
    plan: &Plan,
    count: usize,
) -> Vec<Contender> {
    let (new, cache) = match count {
        1 => ("verified each time", Cache::None),
        // Those of the first slice fill it.
        _ => ("every token new", Cache::Of(count / (plan.rounds + 2))),
    };
    let mut all = Vec::new();
    let mut add = |what: &str, kind, target| {
        all.push(Contender {
            has_list: true,
            once: kind == Kind::New && count > 1,
            ..Contender::new(&format!("tower-revoke, {what}"), kind, target)
        });
    };
    for store in [Some(short), Some(listed), large].into_iter().flatten() {
        let what = format!("seen before, list of {}", store.len() - 1);
        add(&what, Kind::Seen, stack(issuer, store, Cache::Default));
    }
    let target = monitored(issuer, listed);
    add("the same with 100000, monitored", Kind::MonitorService, target);
    for store in [short, listed] {
        let what = format!("{new}, list of {}", store.len() - 1);
        add(&what, Kind::New, stack(issuer, store, cache));
    }
    all
}

/// A list in memory, with `entries` that concern no token, and the one that is to be rejected.
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
enum Cache {
    /// As many as by default.
    Default,
    /// None, so that each is verified each time.
    None,
    /// So few that they make room for each other.
    Of(usize),
}

/// The whole stack, over a list of its own that shares `store`.
fn stack(issuer: &TestIssuer, store: &MemoryStore, cache: Cache) -> Box<dyn Target> {
    let layers = ServiceBuilder::new()
        .layer(PreserveAuthorizationLayer::new())
        .layer(bearer(issuer, store, cache));
    boxed(route().layer(layers))
}

/// The whole stack, and the layer that counts calls by client around it.
fn monitored(issuer: &TestIssuer, store: &MemoryStore) -> Box<dyn Target> {
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
        Cache::Of(entries) => list.cache_capacity(entries as u64),
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
        Cache::Of(entries) => verifier.cache_capacity(entries),
    };
    let verifier = verifier.revocations(list.build().expect("a list")).build();
    RequireBearerLayer::new(verifier.expect("a valid configuration"))
}
