//! Streams while the store is down: they continue until their limit, or until the store is back.

use std::time::Duration;

use tokio::time::Instant;
use tower_revoke::{Revocation, RevocationList, TokenId, TokenLifetimeLayer, core::Store};
use tower_revoke_tests::{
    curl::{WIRES, show},
    servers::{Postgres, Redis, StoreServer},
};

use crate::kit::{App, ISSUER};

/// A node that takes a second to notice an outage.
async fn node(store: impl Store) -> RevocationList {
    let list = RevocationList::builder(store)
        .max_staleness(Duration::from_secs(1))
        .store_timeout(Duration::from_millis(500))
        .build()
        .expect("a list");
    list.ready().await.expect("the store is up");
    list
}

impl App {
    /// Waits until new calls are rejected because the store is down. An admitted one is a 405, and opens
    /// no stream.
    async fn notices_the_outage(&self) {
        let token = self.token("2", "ann");
        while show(self.at, WIRES[0], "/upload", &token).await.status != 503 {}
    }
}

async fn streams_end_at_their_limit<S: StoreServer>() {
    const LIMIT: Duration = Duration::from_secs(4);
    let mut server = S::fresh().await;
    let list = node(server.open().await).await;
    let layer = TokenLifetimeLayer::new().end_event("token-ended");
    let app = App::over(list, layer.unknown_timeout(LIMIT)).await;
    let token = app.token("1", "ann");
    let events = app.listen("/events", &token, &[]).await;
    let mut chunks = app.listen("/chunks", &token, &[]).await;
    server.kill().await;
    let killed = Instant::now();
    app.notices_the_outage().await;
    chunks.goes_on().await;
    let ended = async |stream: crate::kit::Listener| {
        let ended = stream.ended().await;
        (ended, killed.elapsed())
    };
    let ((events, first), (chunks, second)) = tokio::join!(ended(events), ended(chunks));
    assert_eq!(events.0, Some(0));
    assert!(
        events
            .1
            .ends_with("event: token-ended\ndata: unavailable\n\n")
    );
    assert_eq!(chunks.0, Some(18));
    // The status was last known at most a second before.
    let earliest = LIMIT - Duration::from_secs(1);
    assert!(first.min(second) >= earliest, "{first:?} {second:?}");
    let counts = &app.monitor.snapshot().services["app"].total;
    assert_eq!(counts.ended_streams["unavailable"], 2);
}

async fn streams_that_are_kept_end_when_the_store_is_back<S: StoreServer>() {
    let mut server = S::fresh().await;
    let (here, there) = (
        node(server.open().await).await,
        node(server.open().await).await,
    );
    let app = App::over(there, TokenLifetimeLayer::new().keep_while_unknown()).await;
    let anns = app.listen("/chunks", &app.token("1", "ann"), &[]).await;
    let mut others = app.listen("/chunks", &app.token("3", "bob"), &[]).await;
    server.kill().await;
    app.notices_the_outage().await;
    server.restart().await;
    let revocation = || Revocation::of_token(TokenId::of_jwt(ISSUER, "1"), None);
    while here.revoke(revocation()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(anns.ended().await.0, Some(18));
    others.goes_on().await;
    let counts = &app.monitor.snapshot().services["app"].total;
    assert_eq!(counts.ended_streams["revoked"], 1);
    assert_eq!(counts.ended_streams.len(), 1);
}

#[tokio::test]
async fn streams_end_at_their_limit_while_redis_is_down() {
    streams_end_at_their_limit::<Redis>().await;
}

#[tokio::test]
async fn streams_end_at_their_limit_while_postgres_is_down() {
    streams_end_at_their_limit::<Postgres>().await;
}

#[tokio::test]
async fn streams_that_are_kept_end_when_redis_is_back() {
    streams_that_are_kept_end_when_the_store_is_back::<Redis>().await;
}

#[tokio::test]
async fn streams_that_are_kept_end_when_postgres_is_back() {
    streams_that_are_kept_end_when_the_store_is_back::<Postgres>().await;
}
