//! TRAPS 50: several cookies of one name, of which one is valid.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Request;
use serde_json::json;
use tower::{Layer, ServiceExt};
use tower_revoke_bearer::RequireBearerLayer;
use tower_revoke_core::{
    Authenticated, BearerContext, BearerToken, Claims, IdentitySlot, Reason, Rejection, TokenId,
    TokenVerifier, VerifiedToken,
};

use super::support::*;

/// Answers only for candidates; a call for a single token never returns.
#[derive(Default)]
struct Candidates {
    asked: Arc<AtomicUsize>,
}

impl TokenVerifier for Candidates {
    async fn verify(&self, _: &BearerToken) -> Result<Authenticated, Rejection> {
        std::future::pending().await
    }

    async fn verify_candidate(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let token = token.as_str();
        let Some((subject, _)) = token.split_once('-') else {
            return Err(match token {
                "revoked" => Reason::Revoked,
                "spent" => Reason::Spent,
                "unavailable" => Reason::Unavailable,
                "expired" => Reason::Expired,
                _ => Reason::UnknownKey,
            }
            .into());
        };
        let claims = match subject {
            "nobody" => json!({ "iss": "https://id.example.com" }),
            "elsewhere" => json!({ "iss": "https://other.example.com", "sub": "ann" }),
            subject => json!({ "iss": "https://id.example.com", "sub": subject }),
        };
        let claims = Claims::from_value(claims).expect("claims");
        let id = TokenId::of_jwt("https://id.example.com", token);
        let token = VerifiedToken::new(id, claims, Duration::ZERO);
        Ok(Authenticated::new(Arc::new(token)))
    }
}

fn cookies(tokens: &[&str]) -> Request<()> {
    let cookies: Vec<_> = tokens
        .iter()
        .map(|token| format!("token={token}"))
        .collect();
    with("cookie", &cookies.join("; "))
}

async fn ask(layer: &RequireBearerLayer<Candidates>, request: Request<()>) -> Answer {
    let service = layer.layer(inner());
    service.oneshot(request).await.expect("no error")
}

fn candidates() -> RequireBearerLayer<Candidates> {
    RequireBearerLayer::new(Candidates::default()).cookie("token")
}

#[tokio::test]
async fn trap_50_the_valid_cookie_passes() {
    for (tokens, presented) in [
        (&["expired", "ann-1"][..], "ann-1"),
        (&["ann-1", "expired"], "ann-1"),
        (&["unknown", "expired", "ann-1"], "ann-1"),
        (&["a b", "ann-1"], "ann-1"),
        (&["ann-1", "=", "expired"], "ann-1"),
        // Both tokens are Ann's own.
        (&["ann-1", "ann-2"], "ann-1"),
        (&["ann-2", "expired", "ann-1"], "ann-2"),
    ] {
        let answer = ask(&candidates(), cookies(tokens)).await;
        assert_eq!(answer.status(), 200, "{tokens:?}");
        assert_eq!(caller(&answer).unwrap().subject(), Some("ann"));
        let checked = BearerContext::of(&seen(&answer).unwrap().extensions);
        let token = checked.unwrap().token().unwrap();
        assert_eq!(token.as_str(), presented, "{tokens:?}");
    }
}

#[tokio::test]
async fn trap_50_some_other_cookies_reject_a_valid_one() {
    for (tokens, status, expected) in [
        // A session that has ended must not be replaced by a planted one.
        (&["ann-1", "revoked"][..], 401, Reason::Revoked),
        (&["revoked", "ann-1"], 401, Reason::Revoked),
        (&["ann-1", "expired", "spent"], 401, Reason::Spent),
        (&["ann-1", "unavailable"], 503, Reason::Unavailable),
        (&["unavailable", "ann-1"], 503, Reason::Unavailable),
        (&["unavailable", "ann-1", "revoked"], 401, Reason::Revoked),
        // One of them was planted.
        (&["ann-1", "bob-1"], 400, Reason::MalformedRequest),
        (
            &["bob-1", "expired", "ann-1"],
            400,
            Reason::MalformedRequest,
        ),
        (&["ann-1", "ann-2", "bob-1"], 400, Reason::MalformedRequest),
        (&["ann-1", "elsewhere-1"], 400, Reason::MalformedRequest),
        (&["nobody-1", "nobody-2"], 400, Reason::MalformedRequest),
        (&["ann-1", "a", "b", "c"], 400, Reason::MalformedRequest),
    ] {
        let answer = ask(&candidates(), cookies(tokens)).await;
        assert_eq!(answer.status(), status, "{tokens:?}");
        assert_eq!(reason(&answer), Some(expected), "{tokens:?}");
    }
}

#[tokio::test]
async fn trap_50_without_a_valid_cookie_the_first_one_gives_the_reason() {
    for (tokens, status, expected) in [
        (&["expired", "unknown"][..], 401, Reason::Expired),
        (&["unknown", "expired"], 401, Reason::UnknownKey),
        (&["a b", "expired"], 400, Reason::MalformedRequest),
        (&["expired", "a b"], 401, Reason::Expired),
        (&["expired", "unavailable"], 503, Reason::Unavailable),
        (&["expired", "revoked"], 401, Reason::Revoked),
    ] {
        let answer = ask(&candidates(), cookies(tokens)).await;
        assert_eq!(answer.status(), status, "{tokens:?}");
        assert_eq!(reason(&answer), Some(expected), "{tokens:?}");
    }
}

#[tokio::test]
async fn trap_50_a_doubled_host_cookie_is_not_verified() {
    let asked = Arc::default();
    let tokens = Candidates {
        asked: Arc::clone(&asked),
    };
    let layer = RequireBearerLayer::new(tokens).cookie("__Host-token");
    let request = with("cookie", "__Host-token=ann-1; __Host-token=expired");
    assert_eq!(ask(&layer, request).await.status(), 400);
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn trap_50_modes_hold_for_several_cookies() {
    let ask = async |layer: RequireBearerLayer<Candidates>, tokens: &[&str]| {
        let slot = IdentitySlot::default();
        let mut request = cookies(tokens);
        request.extensions_mut().insert(slot.clone());
        (ask(&layer, request).await, slot)
    };
    let (answer, slot) = ask(candidates().optional(), &["expired", "unknown"]).await;
    assert_eq!(answer.status(), 401);
    assert!(slot.get().is_none());
    let (answer, slot) = ask(candidates().observe(), &["ann-1", "bob-1"]).await;
    assert!(caller(&answer).is_none());
    assert!(slot.get().is_none());
    let (answer, slot) = ask(candidates().observe(), &["expired", "ann-1"]).await;
    assert_eq!(caller(&answer).unwrap().subject(), Some("ann"));
    assert_eq!(slot.get().unwrap().subject(), Some("ann"));
    let (answer, slot) = ask(candidates().scope("orders"), &["expired", "ann-1"]).await;
    assert_eq!(answer.status(), 403);
    assert!(slot.get().is_some());
}
