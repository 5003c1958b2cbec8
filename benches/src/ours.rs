//! The rows of this project: its stack over lists of different lengths.

use std::{convert::Infallible, time::Duration};

use axum::body::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{ServiceBuilder, service_fn};
use tower_revoke::{
    Algorithm, Endpoint, IntrospectionVerifier, JwtVerifier, MemoryStore, MonitorLayer,
    PreserveAuthorizationLayer, RequireBearerLayer, Revocation, RevocationList, TokenId,
    core::Store,
};
use tower_revoke_testing::TestIssuer;

use crate::{
    rounds::{Contender, Kind, Plan},
    router::{boxed, route},
    target::Target,
    tokens::{AUDIENCE, ISSUER, Tokens},
};

/// The number of entries of the longer of the two lists that every row is measured with.
pub const LISTED: u64 = 100_000;

/// Returns the rows for `count` different tokens and lists over these stores.
pub fn rows(
    issuer: &TestIssuer,
    (short, listed): (&MemoryStore, &MemoryStore),
    large: Option<&MemoryStore>,
    plan: &Plan,
    count: usize,
) -> Vec<Contender> {
    let (new, cache) = match count {
        1 => ("verified each time", Cache::None),
        // The tokens of one slice fill the cache, so that all later ones are misses.
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
    add("the same with 100000, monitored", Kind::Monitor, target);
    for store in [short, listed] {
        let what = format!("{new}, list of {}", store.len() - 1);
        add(&what, Kind::New, stack(issuer, store, cache));
    }
    all
}

/// Returns a store in memory with `entries` that match no token, and the revoked token.
pub async fn store(entries: u64) -> MemoryStore {
    const AT_ONCE: u64 = 10_000;
    let store = MemoryStore::new();
    let other = |number: u64| {
        // Mixes the bits, so that ids are spread like hashes.
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

/// The capacity of the caches of tokens.
#[derive(Clone, Copy)]
pub enum Cache {
    /// The default capacity.
    Default,
    /// No cache: each request verifies its token.
    None,
    /// A capacity below the number of tokens, so that each is evicted before it is sent again.
    Of(usize),
}

/// Returns the whole stack, over its own list on `store`.
pub fn stack(issuer: &TestIssuer, store: &MemoryStore, cache: Cache) -> Box<dyn Target> {
    let layers = ServiceBuilder::new()
        .layer(PreserveAuthorizationLayer::new())
        .layer(bearer(issuer, store, cache));
    boxed(route().layer(layers))
}

/// Returns the whole stack with the layer that counts calls per client.
pub fn monitored(issuer: &TestIssuer, store: &MemoryStore) -> Box<dyn Target> {
    let layers = ServiceBuilder::new()
        .layer(PreserveAuthorizationLayer::new())
        .layer(MonitorLayer::service("orders"))
        .layer(bearer(issuer, store, Cache::Default));
    boxed(route().layer(layers))
}

/// Returns the layer over a verifier that asks an authorization server, which knows every token. Its
/// answer is kept for longer than a measurement takes.
pub fn introspected(store: &MemoryStore) -> RequireBearerLayer<IntrospectionVerifier> {
    let answer = format!(
        r#"{{"active":true,"iss":"{ISSUER}","sub":"ann","aud":"{AUDIENCE}","client_id":"shop",
            "iat":1700000000,"exp":4000000000,"token_type":"Bearer"}}"#
    );
    let server = service_fn(move |_: Request<Full<Bytes>>| {
        let response = Response::new(Full::<Bytes>::from(answer.clone()));
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let url = Endpoint::new("https://id.example.com/introspect").expect("a URL");
    let list = RevocationList::builder(store.clone()).build();
    let verifier = IntrospectionVerifier::builder(ISSUER, url)
        .client_credentials("orders", "a secret")
        .audience(AUDIENCE)
        .http_client(server)
        .max_staleness(Duration::from_secs(3_600))
        .revocations(list.expect("a list"))
        .build();
    RequireBearerLayer::new(verifier.expect("a valid configuration"))
}

pub fn bearer(
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
