//! Keys that are fetched again, and how long they are trusted.

use std::time::Duration;

use tower_revoke_core::{HealthSource, HealthStatus, Reason};

use super::{Answer, Setup, WITHOUT_KEYS, empty};
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn health_tells_how_old_keys_are_and_since_when_fetching_fails() {
    let setup = Setup::new();
    let told = || {
        let check = setup.tokens.health().remove(0);
        assert_eq!((check.name, check.of.as_deref()), ("keys", Some(ISSUER)));
        (check.status, check.output, check.since.is_some())
    };
    let (pass, warn, fail) = (HealthStatus::Pass, HealthStatus::Warn, HealthStatus::Fail);
    assert_eq!(told(), (warn, "not fetched yet".to_owned(), false));
    setup.client.then(empty(WITHOUT_KEYS[0]));
    let token = setup.token();
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::Unavailable);
    let output = "no trusted keys; fetching fails".to_owned();
    assert_eq!(told(), (fail, output, true));
    setup.client.sent(2).await;
    tokio::task::yield_now().await;
    verify(&setup.tokens, &token).await.unwrap();
    assert_eq!(told(), (pass, "1 key, 0 s old".to_owned(), false));
}

/// No token was verified meanwhile, so the keys have not been dropped yet.
#[tokio::test(start_paused = true)]
async fn keys_that_are_too_old_are_not_ready() {
    let setup = Setup::new();
    setup.tokens.ready().await.unwrap();
    setup.client.always(Answer::Fails);
    setup.later(2 * 60 * 60).await;
    let error = setup.tokens.ready().await.unwrap_err();
    assert!(keys_unavailable(&error).error().is_some(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_is_rejected_on_the_call_after_the_refresh() {
    let setup = Setup::new();
    let token = setup.token();
    verify(&setup.tokens, &token).await.unwrap();
    setup.issuer.withdraw(&setup.issuer.key_id());
    setup.issuer.rotate();
    assert!(cached(&setup.tokens, &token).unwrap().is_ok());
    // Only tokio's time advances, so only the periodic refresh can notice.
    tokio::time::sleep(Duration::from_secs(300)).await;
    setup.client.sent(2).await;
    tokio::task::yield_now().await;
    assert!(cached(&setup.tokens, &token).is_none());
    setup.hand.advance(Duration::from_secs(10));
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::UnknownKey);
}

#[tokio::test(start_paused = true)]
async fn keys_are_refreshed_without_requests() {
    let setup = Setup::new();
    setup.tokens.ready().await.unwrap();
    let started = tokio::time::Instant::now();
    setup.client.sent(13).await;
    let took = started.elapsed().as_secs();
    assert!((12 * 270..=12 * 300).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn max_age_sets_the_refresh_interval() {
    let setup = Setup::new();
    let keys = setup.issuer.jwks().to_string();
    for (headers, least, most) in [
        (&[("cache-control", "max-age=900")][..], 810, 900),
        (&[("cache-control", "max-age=0")][..], 54, 60),
        (&[("cache-control", "max-age=31536000")][..], 3_240, 3_600),
        (&[("cache-control", "no-store")][..], 270, 300),
    ] {
        setup.client.always(Answer::Is(200, headers, keys.clone()));
        if setup.client.asked() == 0 {
            setup.tokens.ready().await.unwrap();
        } else {
            let before = setup.client.asked();
            setup.client.sent(before + 1).await;
            tokio::task::yield_now().await;
        }
        let started = tokio::time::Instant::now();
        let before = setup.client.asked();
        setup.client.sent(before + 1).await;
        let took = started.elapsed().as_secs();
        assert!((least..=most).contains(&took), "{headers:?}: {took}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_too_old_are_not_trusted() {
    let setup = Setup::new();
    let token = setup.token();
    verify(&setup.tokens, &token).await.unwrap();
    setup.client.always(Answer::Fails);
    setup.hand.advance(Duration::from_secs(2 * 3_600 - 1));
    assert!(cached(&setup.tokens, &setup.token()).is_none());
    let long = setup.issuer.token().expires_in(Duration::from_secs(9_000));
    let long = long.sign();
    verify(&setup.tokens, &long).await.unwrap();
    assert!(cached(&setup.tokens, &long).unwrap().is_ok());
    setup.hand.advance(Duration::from_secs(1));
    assert!(cached(&setup.tokens, &long).is_none());
    assert_eq!(rejection(&setup.tokens, &long).await, Reason::Unavailable);
    assert!(setup.tokens.ready().await.is_err());
    assert_eq!(setup.tokens.key_stats()[0].keys, 0);
    // They are back as soon as one fetch succeeds.
    *setup.client.0.always.lock().unwrap() = None;
    setup.client.sent(2).await;
    tokio::task::yield_now().await;
    verify(&setup.tokens, &long).await.unwrap();
}

/// Whatever goes wrong with a fetch, the keys stay until they are too old.
#[tokio::test(start_paused = true)]
async fn trap_14_a_failed_fetch_keeps_the_keys() {
    let setup = Setup::new();
    let token = setup.token();
    verify(&setup.tokens, &token).await.unwrap();
    let many = format!(r#"{{"keys":[{}1]}}"#, "1,".repeat(256));
    let failures = [
        Answer::Fails,
        Answer::TooLarge,
        Answer::Is(500, &[], String::new()),
        Answer::Is(503, &[("retry-after", "1")], String::new()),
        Answer::Is(404, &[], setup.issuer.jwks().to_string()),
        Answer::Is(204, &[], String::new()),
        Answer::Is(
            302,
            &[("location", "https://id.example.com/")],
            String::new(),
        ),
        // An unsolicited 304: no request was conditional.
        Answer::Is(304, &[], String::new()),
        Answer::Is(200, &[], "<html>".into()),
        Answer::Is(200, &[], "{}".into()),
        Answer::Is(200, &[], "[[]]".into()),
        Answer::Is(200, &[], r#"{"keys":7}"#.into()),
        Answer::Is(200, &[], many),
    ];
    let count = failures.len();
    for failure in failures {
        setup.client.then(failure);
    }
    setup.client.sent(1 + count).await;
    tokio::task::yield_now().await;
    assert_eq!(setup.tokens.key_stats()[0].failures, count as u64);
    assert!(cached(&setup.tokens, &token).unwrap().is_ok());
    verify(&setup.tokens, &setup.token()).await.unwrap();
    setup.tokens.ready().await.unwrap();
    setup.client.sent(2 + count).await;
    tokio::task::yield_now().await;
    assert_eq!(setup.tokens.key_stats()[0].failures, count as u64);
}

#[tokio::test(start_paused = true)]
async fn rfc9110_13_1_2_an_unchanged_set_is_not_sent_again() {
    let setup = Setup::new();
    let tag = &[("etag", "\"7\"")];
    let keys = setup.issuer.jwks().to_string();
    setup.client.then(Answer::Is(200, tag, keys));
    setup.client.always(Answer::Is(304, tag, String::new()));
    setup.tokens.ready().await.unwrap();
    assert!(!setup.client.last_headers().contains_key("if-none-match"));
    for sent in 2..30 {
        setup.client.sent(sent).await;
        assert_eq!(setup.client.last_headers()["if-none-match"], "\"7\"");
        tokio::task::yield_now().await;
        setup.hand.advance(Duration::from_secs(300));
    }
    // More than two hours: a 304 renews the age of the keys.
    verify(&setup.tokens, &setup.token()).await.unwrap();
    assert_eq!(setup.tokens.key_stats()[0].failures, 0);
}

#[tokio::test(start_paused = true)]
async fn rfc7517_5_one_bad_key_among_fetched_ones_is_skipped() {
    let setup = Setup::new();
    let mut set = setup.issuer.jwks();
    let keys = set["keys"].as_array_mut().unwrap();
    keys.insert(
        0,
        serde_json::json!({ "kty": "RSA", "n": "?", "e": "AQAB", "kid": "bad" }),
    );
    keys.push(serde_json::json!("no key"));
    setup.client.always(Answer::Is(200, &[], set.to_string()));
    verify(&setup.tokens, &setup.token()).await.unwrap();
    assert_eq!(setup.tokens.key_stats()[0].keys, 1);
}
