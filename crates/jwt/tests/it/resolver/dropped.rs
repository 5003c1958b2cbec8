//! Issuers that change or are no longer trusted, while tokens of theirs are cached.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::service_fn;
use tower_revoke_core::{Endpoint, HealthSource, HttpClient, Reason, Revocation, RevocationKey};
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_testing::TestIssuer;

use super::{Setup, customer, trusted};
use crate::support::{cached, rejection, verify};

#[tokio::test]
async fn a_forgotten_issuer_is_rejected_at_once() {
    let setup = Setup::new();
    let token = setup.acme.token().sign();
    verify(&setup.tokens, &token).await.unwrap();
    assert!(cached(&setup.tokens, &token).unwrap().is_ok());

    setup.script.distrust(&setup.acme);
    setup.tokens.forget_issuer(setup.acme.issuer());
    assert!(cached(&setup.tokens, &token).is_none());
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::WrongIssuer);
    let other = setup.acme.token().sign();
    assert_eq!(rejection(&setup.tokens, &other).await, Reason::WrongIssuer);
    assert_eq!(setup.tokens.issuer_stats().trusted, 0);

    setup.script.trust(&setup.acme);
    setup.tokens.forget_issuer(setup.acme.issuer());
    verify(&setup.tokens, &token).await.unwrap();
}

/// The question was asked while the issuer was trusted; its answer comes after it was forgotten.
#[tokio::test]
async fn an_answer_does_not_outlive_its_question() {
    let setup = Setup::new();
    let token = setup.acme.token().sign();
    setup.script.hold();
    let (verdict, ()) = tokio::join!(rejection(&setup.tokens, &token), async {
        setup.script.asked_times(1).await;
        setup.tokens.forget_issuer(setup.acme.issuer());
        setup.script.release();
    });
    assert_eq!(verdict, Reason::Unavailable);
    setup.script.answered_times(1).await;
    setup.script.distrust(&setup.acme);
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::WrongIssuer);
}

#[tokio::test]
async fn an_issuer_is_rejected_once_the_resolver_says_so() {
    let setup = Setup::new();
    let token = setup.acme.token().sign();
    verify(&setup.tokens, &token).await.unwrap();
    setup.script.distrust(&setup.acme);
    setup.later(299);
    assert!(cached(&setup.tokens, &token).unwrap().is_ok());
    assert_eq!(setup.script.asked(), 1);
    setup.later(1);
    // This one asks in the background.
    assert!(cached(&setup.tokens, &token).unwrap().is_ok());
    setup.script.answered_times(2).await;
    assert!(cached(&setup.tokens, &token).is_none());
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::WrongIssuer);
    assert_eq!(setup.script.asked(), 2);
}

#[tokio::test]
async fn the_same_answer_again_costs_no_signature() {
    let setup = Setup::new();
    let token = setup
        .acme
        .token()
        .expires_in(std::time::Duration::from_secs(86_400))
        .sign();
    verify(&setup.tokens, &token).await.unwrap();
    for round in 2..10 {
        setup.later(300);
        assert!(cached(&setup.tokens, &token).unwrap().is_ok());
        setup.script.answered_times(round).await;
        assert!(cached(&setup.tokens, &token).unwrap().is_ok(), "{round}");
    }
    assert_eq!(setup.script.asked(), 9);
}

#[tokio::test]
async fn other_rules_apply_to_cached_tokens() {
    let setup = Setup::new();
    let token = setup.acme.token().sign();
    verify(&setup.tokens, &token).await.unwrap();
    let (name, keys) = (
        setup.acme.issuer().to_owned(),
        setup.acme.jwks().to_string(),
    );
    setup.script.answer(setup.acme.issuer(), move || {
        Ok(Some(trusted(&name).require("tenant").jwks(keys.clone())))
    });
    setup.later(300);
    assert!(cached(&setup.tokens, &token).unwrap().is_ok());
    setup.script.answered_times(2).await;
    assert!(cached(&setup.tokens, &token).is_none());
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::MissingClaim);
    assert_eq!(setup.script.asked(), 2);
}

#[tokio::test]
async fn an_issuer_is_not_trusted_for_longer_than_its_answer() {
    let setup = Setup::new();
    let token = setup.acme.token().sign();
    verify(&setup.tokens, &token).await.unwrap();
    setup.script.fail(&setup.acme);
    for _ in 0..59 {
        setup.later(10);
        assert!(cached(&setup.tokens, &token).unwrap().is_ok());
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    }
    // Every 10 s from 300 s on.
    assert_eq!(setup.script.asked(), 1 + 30);
    setup.later(10);
    assert!(cached(&setup.tokens, &token).is_none());
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::Unavailable);
}

#[tokio::test]
async fn issuers_over_the_capacity_are_asked_about_again() {
    let setup = Setup::with(|builder| builder.issuer_capacity(2));
    let token = setup.acme.token().sign();
    verify(&setup.tokens, &token).await.unwrap();
    for name in ["b", "c"] {
        setup.later(1);
        let issuer = customer(name, &setup.clock);
        setup.script.trust(&issuer);
        verify(&setup.tokens, &issuer.token().sign()).await.unwrap();
    }
    assert_eq!(setup.tokens.issuer_stats().trusted, 2);
    assert_eq!(setup.tokens.issuer_stats().evicted, 1);
    assert!(cached(&setup.tokens, &token).is_none());
    verify(&setup.tokens, &token).await.unwrap();
    assert_eq!(setup.script.asked(), 4);
}

#[tokio::test]
async fn a_rule_over_an_issuer_ends_its_tokens_only() {
    let setup = Setup::new();
    let list = RevocationList::builder(MemoryStore::new());
    let list = list.clock(setup.clock.clone()).build().unwrap();
    let tokens = setup
        .script
        .verifier(&setup.clock)
        .revocations(list.clone())
        .build()
        .unwrap();
    let other = customer("other", &setup.clock);
    setup.script.trust(&other);
    let (token, theirs) = (setup.acme.token().sign(), other.token().sign());
    verify(&tokens, &token).await.unwrap();
    verify(&tokens, &theirs).await.unwrap();
    let all = Revocation::all_of(RevocationKey::issuer(setup.acme.issuer())).unwrap();
    list.revoke(all).await.unwrap();
    assert_eq!(rejection(&tokens, &token).await, Reason::Revoked);
    assert!(cached(&tokens, &theirs).unwrap().is_ok());
}

/// Serves the keys of an issuer, and counts.
pub fn client(issuer: &TestIssuer) -> (impl HttpClient + use<>, Arc<AtomicUsize>) {
    let fetches = Arc::new(AtomicUsize::new(0));
    let (keys, count) = (issuer.jwks().to_string(), fetches.clone());
    let client = service_fn(move |_: Request<Full<Bytes>>| {
        count.fetch_add(1, Ordering::SeqCst);
        let response = Response::new(Full::<Bytes>::from(keys.clone()));
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    });
    (client, fetches)
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_a_forgotten_issuer_are_no_longer_fetched() {
    let (clock, _hand) = tower_revoke_core::Clock::manual(crate::support::START);
    let acme = customer("acme", &clock);
    let (client, fetches) = client(&acme);
    let script = super::Script::new();
    let name = acme.issuer().to_owned();
    script.answer(acme.issuer(), move || {
        let keys = Endpoint::new("https://id.example.com/keys")?;
        Ok(Some(trusted(&name).jwks_url(keys)))
    });
    let tokens = script.verifier(&clock).http_client(client).build().unwrap();
    verify(&tokens, &acme.token().sign()).await.unwrap();
    let hour = std::time::Duration::from_secs(3_600);
    tokio::time::sleep(hour).await;
    let fetched = fetches.load(Ordering::SeqCst);
    assert!(fetched > 10, "{fetched}");
    let stats = tokens.key_stats();
    assert_eq!(stats.len(), 1);
    assert!(stats[0].resolved);
    assert!(
        tokens.health().is_empty(),
        "a tenant's keys are no check of the service"
    );
    #[cfg(feature = "metrics")]
    {
        let recorder = metrics_util::debugging::DebuggingRecorder::new();
        metrics::with_local_recorder(&recorder, || stats[0].report());
        assert!(recorder.snapshotter().snapshot().into_vec().is_empty());
    }
    tokens.forget_issuer(acme.issuer());
    tokio::time::sleep(hour).await;
    assert_eq!(fetches.load(Ordering::SeqCst), fetched);
    assert!(tokens.key_stats().is_empty());
}
