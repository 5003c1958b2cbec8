//! Key sets without a usable key.

use std::time::Duration;

use tower_revoke_core::Reason;
use tower_revoke_jwt::{KeyFetchError, KeySetError};
use tower_revoke_testing::RecordedLog;

use super::{Answer, Setup, WITHOUT_KEYS, empty};
use crate::support::*;

/// TRAPS 49: an issuer returned an empty set once, and valid tokens got 401.
#[tokio::test(start_paused = true)]
async fn trap_49_a_set_without_a_key_is_unavailable_and_refetched() {
    for keys in WITHOUT_KEYS {
        let setup = Setup::new();
        setup.client.then(empty(keys));
        let token = setup.token();
        assert_eq!(rejection(&setup.tokens, &token).await, Reason::Unavailable);
        assert_eq!(rejection(&setup.tokens, &token).await, Reason::Unavailable);
        let error = setup.tokens.ready().await.unwrap_err();
        assert!(
            matches!(
                keys_unavailable(&error).error(),
                Some(KeyFetchError::KeySet(KeySetError::NoUsableKey))
            ),
            "{error:?}"
        );
        let stats = &setup.tokens.key_stats()[0];
        assert_eq!((stats.failures, stats.unusable), (1, 1));
        let started = tokio::time::Instant::now();
        setup.client.sent(2).await;
        assert!(started.elapsed() <= Duration::from_secs(1));
        tokio::task::yield_now().await;
        verify(&setup.tokens, &token).await.unwrap();
    }
}

/// TRAPS 49: metrics let an operator alert on key sets without a usable key.
#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn trap_49_metrics_count_sets_without_a_key() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let setup = Setup::new();
    setup.client.then(empty(WITHOUT_KEYS[0]));
    assert_eq!(
        rejection(&setup.tokens, &setup.token()).await,
        Reason::Unavailable
    );

    let recorder = DebuggingRecorder::new();
    let stats = &setup.tokens.key_stats()[0];
    metrics::with_local_recorder(&recorder, || stats.report());
    let mut reported: Vec<_> = recorder
        .snapshotter()
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, unit, described, value)| {
            let (_, key) = key.into_parts();
            assert!(unit.is_some() && described.is_some(), "{key}");
            let labels: Vec<_> = key.labels().map(|label| label.value().to_owned()).collect();
            assert_eq!(labels, [stats.issuer.as_str()]);
            let value = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(level) => level.0,
                DebugValue::Histogram(_) => panic!("{key} is a histogram"),
            };
            (key.name().to_owned(), value)
        })
        .collect();
    reported.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("tower_revoke_jwt_key_fetch_failures_total", 1.0),
        ("tower_revoke_jwt_key_fetches_total", 1.0),
        ("tower_revoke_jwt_keys", 0.0),
        ("tower_revoke_jwt_keys_age_seconds", f64::NAN),
        ("tower_revoke_jwt_unusable_key_sets_total", 1.0),
    ];
    assert_eq!(reported.len(), expected.len());
    for ((name, value), (expected_name, expected)) in reported.iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert!(
            *value == expected || value.is_nan() && expected.is_nan(),
            "{name} is {value}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn trap_49_the_keys_of_an_emptied_set_stay_for_ten_minutes() {
    let minutes = |count: u64| Duration::from_secs(count * 60);
    for keys in WITHOUT_KEYS {
        for (trust, stay) in [
            (minutes(120), minutes(10)),
            (minutes(20), minutes(10)),
            (minutes(4), minutes(4)),
        ] {
            let log = RecordedLog::start();
            let setup = Setup::with(|builder| builder.key_max_age(trust));
            let long = setup.issuer.token().expires_in(minutes(300)).sign();
            verify(&setup.tokens, &long).await.unwrap();
            setup.issuer.rotate();
            setup.client.always(empty(keys));
            // Triggers the periodic refresh without advancing the verifier's clock.
            setup.client.sent(2).await;
            tokio::task::yield_now().await;
            let lines = || {
                let lines = log.lines().into_iter();
                lines
                    .filter(|line| !line.contains("skipped"))
                    .collect::<Vec<_>>()
            };
            assert_eq!(lines().len(), 1, "{:?}", lines());
            let new = setup.token();
            setup.hand.advance(stay - Duration::from_secs(1));
            setup.client.sent(20).await;
            assert!(cached(&setup.tokens, &long).unwrap().is_ok());
            assert_eq!(rejection(&setup.tokens, &new).await, Reason::Unavailable);
            setup.hand.advance(Duration::from_secs(1));
            assert!(cached(&setup.tokens, &long).is_none());
            assert_eq!(rejection(&setup.tokens, &long).await, Reason::Unavailable);
            assert!(setup.tokens.ready().await.is_err());
            let stats = &setup.tokens.key_stats()[0];
            assert_eq!(stats.keys, 0);
            assert!(stats.unusable >= 19, "{stats:?}");
            assert!(lines().len() <= 3, "{:?}", lines());
            *setup.client.0.always.lock().unwrap() = None;
            let asked = setup.client.asked();
            setup.client.sent(asked + 1).await;
            tokio::task::yield_now().await;
            verify(&setup.tokens, &long).await.unwrap();
            verify(&setup.tokens, &new).await.unwrap();
        }
    }
}

/// Failures of other kinds, before or after, don't extend the grace period of an emptied set.
#[tokio::test(start_paused = true)]
async fn trap_49_an_emptied_set_that_fails_then_gets_no_more_time() {
    let setup = Setup::new();
    let token = setup.token();
    verify(&setup.tokens, &token).await.unwrap();
    setup.client.then(Answer::Fails);
    setup.client.then(empty(WITHOUT_KEYS[0]));
    setup.client.always(Answer::Fails);
    setup.client.sent(4).await;
    tokio::task::yield_now().await;
    setup.hand.advance(Duration::from_secs(599));
    assert!(cached(&setup.tokens, &token).unwrap().is_ok());
    setup.hand.advance(Duration::from_secs(1));
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::Unavailable);
}

/// Otherwise a 304 for the ETag of the empty set would make the old keys fresh again.
#[tokio::test(start_paused = true)]
async fn trap_49_the_etag_of_a_set_without_a_key_is_not_kept() {
    let setup = Setup::new();
    let keys = setup.issuer.jwks().to_string();
    setup
        .client
        .then(Answer::Is(200, &[("etag", "\"full\"")], keys));
    let bare = Answer::Is(200, &[("etag", "\"bare\"")], WITHOUT_KEYS[0].to_owned());
    setup.client.always(bare);
    setup.tokens.ready().await.unwrap();
    for sent in 2..6 {
        setup.client.sent(sent).await;
        assert_eq!(setup.client.last_headers()["if-none-match"], "\"full\"");
    }
}
