//! Tests what authorization servers are told, and that a response waits until that is kept.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{Caller, hello};
use http_body_util::BodyExt;
use tokio::sync::watch;
use tower::{Layer, Service, service_fn, util::Either};
use tower_revoke_core::{
    QueueFull, RemoteRevocation, RemoteSlot, TokenId, TokenStatus, UnixTime, VerifiedToken,
};
use tower_revoke_spend::{PendingRevocations, RevokeAfterResponseLayer, UseLimitLayer};
use tower_revoke_testing::StoreOp;

/// An authorization server that records the revocations it receives. While it doesn't keep what is
/// owed to it, responses wait.
#[derive(Debug)]
pub(crate) struct Server {
    told: Mutex<Vec<String>>,
    full: bool,
    keeps: watch::Sender<bool>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            told: Mutex::default(),
            full: false,
            keeps: watch::Sender::new(true),
        }
    }
}

impl Server {
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

impl RemoteRevocation for Server {
    fn reserve(self: Arc<Self>, _: &VerifiedToken) -> Result<RemoteSlot, QueueFull> {
        if self.full {
            return Err(QueueFull);
        }
        Ok(RemoteSlot::new(move |token| {
            self.told.lock().unwrap().push(token.as_str().to_owned());
            let mut keeps = self.keeps.subscribe();
            Box::pin(async move {
                // Fails only once the server is dropped.
                let _ = keeps.wait_for(|keeps| *keeps).await;
            })
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn the_authorization_server_is_told_once_the_token_has_ended_here() {
    let server = Arc::new(Server::default());
    let told = || server.clone() as Arc<dyn RemoteRevocation>;
    for (layer, calls_until_told) in [
        (
            Either::Right(RevokeAfterResponseLayer::new().also_at(told())),
            1,
        ),
        (Either::Left(UseLimitLayer::single().also_at(told())), 1),
        (Either::Left(UseLimitLayer::uses::<3>().also_at(told())), 3),
    ] {
        let caller = Caller::new();
        server.told.lock().unwrap().clear();
        let mut service = layer.layer(service_fn(hello));
        for call in 1..=calls_until_told {
            assert!(server.told().is_empty());
            let response = service.call(caller.request()).await.unwrap();
            assert_eq!(response.status(), 200, "{call}");
            response.into_body().collect().await.unwrap();
        }
        assert_eq!(server.told(), ["e30.e30.c2ln"]);
    }
}

/// Nobody but this service knows what a ticket is.
#[tokio::test(start_paused = true)]
async fn a_ticket_is_not_sent_to_the_authorization_server() {
    let server = Arc::new(Server::default());
    let told = || server.clone() as Arc<dyn RemoteRevocation>;
    for layer in [
        Either::Right(RevokeAfterResponseLayer::new().also_at(told())),
        Either::Left(UseLimitLayer::single().also_at(told())),
    ] {
        let mut caller = Caller::new();
        let token = Arc::into_inner(caller.token).expect("the only handle");
        let ticket = TokenId::from_bytes([7; 16]);
        let until = UnixTime::from_secs(4_000_000_000);
        caller.token = Arc::new(token.with_single_use(ticket, until));
        let mut service = layer.layer(service_fn(hello));
        let response = service.call(caller.request()).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
        assert_eq!(caller.known_status().await, TokenStatus::Spent);
        assert!(server.told().is_empty());
    }
}

/// A call with the token itself is not part of a revocation of which the server is not told.
#[tokio::test(start_paused = true)]
async fn the_authorization_server_is_told_of_a_token_whose_ticket_is_in_use() {
    let caller = Caller::new();
    let mut by_ticket = caller.beside(serde_json::json!({}));
    let token = Arc::into_inner(by_ticket.token).expect("the only handle");
    let until = UnixTime::from_secs(4_000_000_000);
    by_ticket.token = Arc::new(token.with_single_use(TokenId::from_bytes([7; 16]), until));
    let server = Arc::new(Server::default());
    let mut service = RevokeAfterResponseLayer::new()
        .also_at(server.clone() as Arc<dyn RemoteRevocation>)
        .layer(service_fn(hello));
    let held = service.call(by_ticket.request()).await.unwrap();
    let response = service.call(caller.request()).await.unwrap();
    response.into_body().collect().await.unwrap();
    assert_eq!(server.told(), ["e30.e30.c2ln"]);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_to_the_authorization_server_is_a_503_before_the_call() {
    let caller = Caller::new();
    let server = Server {
        full: true,
        ..Server::default()
    };
    let mut service = UseLimitLayer::single()
        .also_at(Arc::new(server) as Arc<dyn RemoteRevocation>)
        .layer(service_fn(hello));
    let response = service.call(caller.request()).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(caller.store.calls(StoreOp::TakeUse), 0);
}

#[tokio::test(start_paused = true)]
async fn a_returned_use_is_not_reported() {
    let caller = Caller::new();
    let server = Arc::new(Server::default());
    let mut service = UseLimitLayer::single()
        .return_if(|_| true)
        .also_at(server.clone() as Arc<dyn RemoteRevocation>)
        .layer(service_fn(hello));
    service.call(caller.request()).await.unwrap();
    assert!(server.told().is_empty());
    assert_eq!(caller.known_status().await, TokenStatus::Valid);
}

/// One of the two layers, which owes the server each token that it ends.
fn layer(
    is_single: bool,
    server: &Arc<Server>,
    pending: &PendingRevocations,
) -> Either<UseLimitLayer, RevokeAfterResponseLayer> {
    let told = server.clone() as Arc<dyn RemoteRevocation>;
    if is_single {
        let layer = UseLimitLayer::single().also_at(told);
        return Either::Left(layer.pending_revocations(pending));
    }
    let layer = RevokeAfterResponseLayer::new().also_at(told);
    Either::Right(layer.pending_revocations(pending))
}

#[tokio::test(start_paused = true)]
async fn a_response_is_held_until_the_revocation_is_kept_for_the_server() {
    for is_single in [true, false] {
        let (caller, server) = (Caller::new(), Arc::new(Server::default()));
        server.keeps.send_replace(false);
        let pending = PendingRevocations::default();
        let layer = layer(is_single, &server, &pending);
        let mut service = layer.layer(service_fn(hello));
        let mut call = pin!(async {
            let response = service.call(caller.request()).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        });
        while server.told().is_empty() {
            assert!(futures_util::poll!(&mut call).is_pending());
            tokio::task::yield_now().await;
        }
        // The list has it, the outbox does not.
        for _ in 0..100 {
            assert!(futures_util::poll!(&mut call).is_pending());
            tokio::task::yield_now().await;
        }
        assert_eq!(caller.known_status().await, TokenStatus::Spent);
        server.keeps.send_replace(true);
        assert_eq!(call.await, "hello");
        assert_eq!(server.told(), ["e30.e30.c2ln"]);
        assert!(pending.shutdown(Duration::MAX).await.is_complete());
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_whose_revocation_is_not_kept_for_the_server_is_not_completed() {
    for is_single in [true, false] {
        let (caller, server) = (Caller::new(), Arc::new(Server::default()));
        server.keeps.send_replace(false);
        let pending = PendingRevocations::default();
        let layer = layer(is_single, &server, &pending);
        let mut service = layer.layer(service_fn(hello));
        let response = service.call(caller.request()).await.unwrap();
        let is_complete = response.status() == 200 && response.into_body().collect().await.is_ok();
        assert!(!is_complete);
        assert_eq!(caller.known_status().await, TokenStatus::Spent);
        // It is kept at last, or the server was told.
        assert_eq!(pending.len(), 1);
        server.keeps.send_replace(true);
        assert!(pending.shutdown(Duration::MAX).await.is_complete());
        assert_eq!(server.told(), ["e30.e30.c2ln"]);
    }
}
