//! Made-up issuers, many of them.

use std::{sync::atomic::Ordering, time::Duration};

use futures_util::future::join_all;
use tower_revoke_core::{Clock, Endpoint, Reason};

use super::{Script, Setup, customer, dropped::client, trusted};
use crate::support::{START, cached, rejection, verify};

/// A token of an issuer that doesn't exist: a caller writes what it likes.
fn made_up(issuer: &str) -> String {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
    let payload = serde_json::json!({"iss": issuer, "aud": "orders", "exp": 1_900_000_000});
    let header = BASE64.encode(r#"{"alg":"EdDSA","kid":"1"}"#);
    format!("{header}.{}.AAAA", BASE64.encode(payload.to_string()))
}

#[tokio::test]
async fn a_flood_of_issuers_does_not_reach_the_resolver() {
    let setup = Setup::with(|builder| builder.issuer_capacity(100));
    let token = setup.acme.token().sign();
    verify(&setup.tokens, &token).await.unwrap();
    for second in 1..=5 {
        setup.later(1);
        let flood: Vec<_> = (0..1_000)
            .map(|at| made_up(&format!("https://evil.example/{second}/{at}")))
            .collect();
        let reasons = join_all(flood.iter().map(|token| rejection(&setup.tokens, token))).await;
        let unknown = reasons
            .iter()
            .filter(|it| **it == Reason::WrongIssuer)
            .count();
        let limited = reasons
            .iter()
            .filter(|it| **it == Reason::Unavailable)
            .count();
        assert_eq!((unknown, limited), (50, 950), "{second}");
        // Those of known issuers are not affected, cached or not.
        assert!(cached(&setup.tokens, &token).unwrap().is_ok());
        verify(&setup.tokens, &setup.acme.token().sign())
            .await
            .unwrap();
    }
    let stats = setup.tokens.issuer_stats();
    assert_eq!((stats.lookups, stats.untrusted), (251, 250));
    assert_eq!((stats.limited, stats.trusted), (4_750, 1));
    #[cfg(feature = "metrics")]
    reported(
        &stats,
        &[
            ("issuers", 1),
            ("issuer_lookups_total", 251),
            ("issuers_untrusted_total", 250),
            ("issuer_lookups_limited_total", 4_750),
            ("issuer_lookup_failures_total", 0),
            ("issuers_evicted_total", 0),
        ],
    );
}

/// An issuer that is in use is asked about again before its answer is too old, whoever asks about others.
#[tokio::test]
async fn a_flood_of_issuers_does_not_end_the_trust_in_one_that_is_in_use() {
    let setup = Setup::with(|builder| {
        builder
            .issuer_lookups_per_second(10)
            .issuer_max_age(Duration::from_secs(60))
    });
    let token = setup.acme.token().sign();
    verify(&setup.tokens, &token).await.unwrap();
    for second in 1..=130 {
        setup.later(1);
        let flood: Vec<_> = (0..20)
            .map(|at| made_up(&format!("https://evil.example/{second}/{at}")))
            .collect();
        join_all(flood.iter().map(|token| rejection(&setup.tokens, token))).await;
        let verified = verify(&setup.tokens, &token).await;
        assert!(verified.is_ok(), "after {second} s");
    }
}

/// Checks what reaches the recorder of a program.
#[cfg(feature = "metrics")]
fn reported(stats: &tower_revoke_jwt::IssuerStats, expected: &[(&str, u32)]) {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || stats.report());
    let series = recorder.snapshotter().snapshot().into_vec();
    assert_eq!(series.len(), expected.len());
    for (name, value) in expected {
        let name = format!("tower_revoke_jwt_{name}");
        let found = series.iter().find(|(key, ..)| key.key().name() == name);
        match &found.unwrap().3 {
            DebugValue::Counter(count) => assert_eq!(*count, u64::from(*value), "{name}"),
            DebugValue::Gauge(gauge) => assert_eq!(gauge.into_inner(), f64::from(*value), "{name}"),
            DebugValue::Histogram(_) => panic!("{name}"),
        }
    }
}

#[tokio::test]
async fn what_the_resolver_recognizes_costs_no_question() {
    let (clock, _hand) = Clock::manual(START);
    let acme = customer("acme", &clock);
    let script = Script::of_issuers_at("https://id.example.com/");
    script.trust(&acme);
    let tokens = script.verifier(&clock).build().unwrap();
    for at in 0..1_000 {
        let token = made_up(&format!("https://evil.example/{at}"));
        assert_eq!(rejection(&tokens, &token).await, Reason::WrongIssuer);
    }
    assert_eq!(tokens.issuer_stats(), Default::default());
    verify(&tokens, &acme.token().sign()).await.unwrap();
    assert_eq!(script.asked(), 1);
}

#[tokio::test]
async fn an_issuer_that_is_no_url_is_not_asked_about() {
    let setup = Setup::new();
    let long = format!("https://id.example.com/{}", "a".repeat(2_048));
    for issuer in [
        "",
        " ",
        "https://id.example.com/acme ",
        "https://id.example.com/\u{430}cme",
        "https://id.example.com/acme\n",
        "https://id.example.com/acme\0",
        "https://id.example.com/acm\u{e9}",
        &long,
    ] {
        let reason = rejection(&setup.tokens, &made_up(issuer)).await;
        assert_eq!(reason, Reason::WrongIssuer, "{issuer:?}");
    }
    assert_eq!(setup.script.asked(), 0);
}

#[tokio::test]
async fn a_malformed_token_asks_nothing() {
    let setup = Setup::new();
    let (head, _) = setup
        .acme
        .token()
        .sign()
        .split_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    for token in [
        "a.b.c",
        &format!("{head}.e30.AAAA"),
        &format!("{head}.bm90anNvbg.AAAA"),
    ] {
        assert!(verify(&setup.tokens, token).await.is_err());
    }
    let none = setup.acme.sign_raw(
        r#"{"alg":"none"}"#,
        r#"{"iss":"https://id.example.com/acme"}"#,
    );
    assert_eq!(
        rejection(&setup.tokens, &none).await,
        Reason::AlgorithmNotAllowed
    );
    assert_eq!(setup.script.asked(), 0);
}

/// Forged tokens of many customers, each with an unknown `kid`, fetch no more keys than made-up
/// issuers ask questions.
#[tokio::test(start_paused = true)]
async fn unknown_keys_of_many_issuers_share_a_rate() {
    let (clock, hand) = Clock::manual(START);
    let second = Duration::from_secs(1);
    let script = Script::new();
    let customers: Vec<_> = (0..40)
        .map(|at| customer(&at.to_string(), &clock))
        .collect();
    // The keys of the first one are those of all: only fetches count here.
    let (client, fetches) = client(&customers[0]);
    for customer in &customers {
        let name = customer.issuer().to_owned();
        script.answer(customer.issuer(), move || {
            let keys = Endpoint::new("https://id.example.com/keys")?;
            Ok(Some(trusted(&name).jwks_url(keys)))
        });
    }
    let tokens = script.verifier(&clock).http_client(client);
    let tokens = tokens.issuer_lookups_per_second(10).build().unwrap();
    let forged: Vec<_> = customers.iter().map(|it| made_up(it.issuer())).collect();
    // One question and one fetch each.
    for five in forged.chunks(5) {
        hand.advance(second);
        join_all(five.iter().map(|token| rejection(&tokens, token))).await;
    }
    assert_eq!(tokens.issuer_stats().trusted, 40);
    assert_eq!(fetches.load(Ordering::SeqCst), 40);
    hand.advance(second * 20);
    let reasons = join_all(forged.iter().map(|token| rejection(&tokens, token))).await;
    assert_eq!(fetches.load(Ordering::SeqCst), 50);
    let rejected = reasons
        .iter()
        .filter(|it| **it == Reason::UnknownKey)
        .count();
    let limited = reasons
        .iter()
        .filter(|it| **it == Reason::Unavailable)
        .count();
    assert_eq!((rejected, limited), (10, 30));
}
