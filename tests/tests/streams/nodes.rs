//! Two nodes over one store: revoked on one, cut off on the other.

use std::time::Duration;

use tokio::time::Instant;
use tower_revoke::{Revocation, RevocationList, TokenId, TokenLifetimeLayer, core::Store};
use tower_revoke_store_redis::RedisStore;
use tower_revoke_store_sql::PostgresStore;
use tower_revoke_testing::rounds;
use tower_revoke_tests::servers::{Postgres, Redis, StoreServer};

use crate::kit::{App, ISSUER};

async fn revoked_here_cut_off_there(store: &str, here: impl Store, there: impl Store) {
    // Ten minutes: only a push by the store explains an end before the end of the test.
    let patient = Duration::from_secs(600);
    let here = RevocationList::builder(here).max_staleness(patient).build();
    let there = RevocationList::builder(there)
        .max_staleness(patient)
        .build();
    let (here, there) = (here.expect("a list"), there.expect("a list"));
    here.ready().await.expect("the store is up");
    there.ready().await.expect("the store is up");
    let app = App::over(there, TokenLifetimeLayer::new()).await;
    let mut times = Vec::new();
    for round in 0..rounds(20, 200) {
        let jti = round.to_string();
        let stream = app.listen("/chunks", &app.token(&jti, "ann"), &[]).await;
        let revocation = Revocation::of_token(TokenId::of_jwt(ISSUER, &jti), None);
        here.revoke(revocation).await.expect("revoked");
        let begun = Instant::now();
        assert_eq!(stream.ended().await.0, Some(18));
        times.push(begun.elapsed());
    }
    times.sort();
    let of = |part: usize| times[(times.len() - 1) * part / 100];
    println!(
        "{store}: cut off elsewhere after {:?} (p50), {:?} (p99), as curl sees it",
        of(50),
        of(99)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_a_stream_is_cut_off_on_another_node_redis() {
    let server = Redis::fresh().await;
    let store = async || RedisStore::connect(&server.url()).await.expect("a store");
    revoked_here_cut_off_there("redis", store().await, store().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_a_stream_is_cut_off_on_another_node_postgres() {
    let server = Postgres::fresh().await;
    let store = async || {
        PostgresStore::connect(&server.url())
            .await
            .expect("a store")
    };
    revoked_here_cut_off_there("postgres", store().await, store().await).await;
}
