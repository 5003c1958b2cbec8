//! The lifetime that a handler takes.

use std::time::Duration;

use http::Extensions;
use serde_json::json;
use tower_revoke_core::{Claims, Clock, Reason, TokenEnd, TokenId, VerifiedToken};
use tower_revoke_streams::TokenLifetime;

use crate::support::World;

#[tokio::test]
async fn a_lifetime_ends_once_and_stays_ended() {
    let world = World::new();
    let mut lifetime = TokenLifetime::of(world.request().extensions()).unwrap();
    tokio::select! {
        biased;
        _ = lifetime.ended() => panic!("nothing has ended"),
        () = std::future::ready(()) => {}
    }
    let (end, ()) = tokio::join!(lifetime.ended(), world.revoke());
    assert_eq!(end, TokenEnd::Revoked);
    assert_eq!(lifetime.ended().await, TokenEnd::Revoked);
    drop(lifetime);
    assert_eq!(world.watches(), 0);
}

/// TRAPS 17: neither the token nor what came with it stays alive for a stream.
#[tokio::test]
async fn trap_17_a_lifetime_keeps_no_token() {
    let world = World::new();
    let token = world.token("1");
    let kept = std::sync::Arc::downgrade(&token);
    let lifetime = TokenLifetime::of_token(&token);
    drop(token);
    assert!(kept.upgrade().is_none());
    drop(lifetime);
}

#[tokio::test]
async fn without_a_bearer_layer_there_is_no_lifetime() {
    let rejection = TokenLifetime::of(&Extensions::new()).expect_err("no layer");
    assert_eq!(rejection.reason(), Reason::Misconfigured);
}

/// By the wall clock, since no list has another one.
#[tokio::test]
async fn a_token_without_a_list_ends_when_it_expires() {
    let now = Clock::system().now();
    let token = |left| {
        let exp = now.saturating_add(Duration::from_secs(left));
        let claims = Claims::from_value(json!({"exp": exp})).unwrap();
        VerifiedToken::new(TokenId::of_jwt("i", "1"), claims, Duration::ZERO)
    };
    assert_eq!(
        TokenLifetime::of_token(&token(0)).ended().await,
        TokenEnd::Expired
    );
    assert_eq!(
        TokenLifetime::of_token(&token(1)).ended().await,
        TokenEnd::Expired
    );
    assert!(Clock::system().now() > now);
}
