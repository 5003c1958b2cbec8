//! What becomes of an answer, and who waits for it.

use std::time::Duration;

use futures_util::future::join_all;
use tower_revoke_core::{BoxError, Reason, TokenVerifier};
use tower_revoke_jwt::{JwtVerifierError, TrustedIssuer};
use tower_revoke_testing::{RecordedLog, TestAlgorithm, TestIssuer};

use super::{Setup, customer, trusted};
use crate::support::{ISSUER, bearer, cached, rejection, verify};

#[tokio::test]
async fn an_issuer_is_asked_about_once() {
    let Setup {
        acme,
        script,
        tokens,
        clock,
        ..
    } = Setup::new();
    script.hold();
    let signed: Vec<_> = (0..20).map(|_| acme.token().sign()).collect();
    let waiting = join_all(signed.iter().map(|token| verify(&tokens, token)));
    let (callers, ()) = tokio::join!(waiting, async {
        script.asked_times(1).await;
        script.release();
    });
    assert!(callers.iter().all(Result::is_ok));
    assert_eq!(callers[0].as_ref().unwrap().issuer(), Some(acme.issuer()));
    verify(&tokens, &acme.token().sign()).await.unwrap();
    assert!(cached(&tokens, &signed[0]).unwrap().is_ok());
    assert_eq!(script.asked(), 1);

    let forger = TestIssuer::with(acme.issuer(), TestAlgorithm::EdDSA).clock(clock);
    let forged = forger.token().header("kid", acme.key_id()).sign();
    assert_eq!(rejection(&tokens, &forged).await, Reason::BadSignature);
    let foreign = acme.token().audience("payments").sign();
    assert_eq!(rejection(&tokens, &foreign).await, Reason::WrongAudience);
    assert_eq!(script.asked(), 1);
    assert_eq!(tokens.issuer_stats().trusted, 1);
    assert!(tokens.issuers().is_empty(), "it is not configured");
    tokens.ready().await.unwrap();
}

#[tokio::test]
async fn an_untrusted_issuer_is_asked_about_once_in_an_interval() {
    let setup = Setup::new();
    let other = customer("other", &setup.clock);
    for _ in 0..3 {
        let reason = rejection(&setup.tokens, &other.token().sign()).await;
        assert_eq!(reason, Reason::WrongIssuer);
    }
    assert_eq!(setup.script.asked(), 1);
    setup.script.trust(&other);
    setup.later(9);
    let reason = rejection(&setup.tokens, &other.token().sign()).await;
    assert_eq!(reason, Reason::WrongIssuer);
    setup.later(1);
    verify(&setup.tokens, &other.token().sign()).await.unwrap();
    assert_eq!(setup.script.asked(), 2);
    assert_eq!(setup.tokens.issuer_stats().untrusted, 1);
}

#[tokio::test]
async fn a_resolver_that_fails_is_a_503() {
    let log = RecordedLog::start();
    let setup = Setup::new();
    let token = setup.acme.token().sign();
    setup.script.fail(&setup.acme);
    for _ in 0..3 {
        assert_eq!(rejection(&setup.tokens, &token).await, Reason::Unavailable);
    }
    assert_eq!(setup.script.asked(), 1);
    assert!(
        log.text().contains("an issuer can't be resolved"),
        "{}",
        log.text()
    );
    setup.script.trust(&setup.acme);
    setup.later(10);
    verify(&setup.tokens, &token).await.unwrap();
    assert_eq!(setup.tokens.issuer_stats().failures, 1);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_is_a_503() {
    let setup = Setup::new();
    setup.script.hold();
    let token = setup.acme.token().sign();
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::Unavailable);
    setup.script.release();
    setup.later(10);
    verify(&setup.tokens, &token).await.unwrap();
}

#[tokio::test]
async fn a_resolver_that_panics_is_a_503() {
    let setup = Setup::new();
    let token = setup.acme.token().sign();
    setup
        .script
        .answer(setup.acme.issuer(), || panic!("a fault"));
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::Unavailable);
    setup.script.trust(&setup.acme);
    setup.later(10);
    verify(&setup.tokens, &token).await.unwrap();
}

/// What the resolver read may be as old as the question.
#[tokio::test]
async fn the_age_of_an_answer_is_counted_from_its_question() {
    let setup = Setup::with(|builder| builder.issuer_max_age(Duration::from_secs(60)));
    let token = setup.acme.token().sign();
    setup.script.hold();
    let (verified, ()) = tokio::join!(verify(&setup.tokens, &token), async {
        setup.script.asked_times(1).await;
        setup.later(5);
        setup.script.release();
    });
    verified.unwrap();
    setup.script.distrust(&setup.acme);
    setup.later(54);
    assert!(cached(&setup.tokens, &token).unwrap().is_ok());
    setup.later(1);
    assert!(cached(&setup.tokens, &token).is_none());
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::WrongIssuer);
}

/// Keys and rules of an issuer that the token doesn't name are never used for it.
#[tokio::test]
async fn an_answer_about_another_issuer_does_not_count() {
    let setup = Setup::new();
    for (name, returned) in [
        ("https://ID.example.com/acme", "https://id.example.com/acme"),
        (
            "https://id.example.com/acme/",
            "https://id.example.com/acme",
        ),
        (
            "https://id.example.com/acme",
            "https://id.example.com/acme/",
        ),
    ] {
        let keys = setup.acme.jwks().to_string();
        let answer = move || Ok(Some(trusted(returned).jwks(keys.clone())));
        setup.script.answer(name, answer);
        let payload = format!(r#"{{"iss":"{name}","aud":"orders","exp":1900000000}}"#);
        let header = format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, setup.acme.key_id());
        let token = setup.acme.sign_raw(header, payload);
        let reason = rejection(&setup.tokens, &token).await;
        assert_eq!(reason, Reason::Unavailable, "{name}");
    }
    assert_eq!(setup.tokens.issuer_stats().failures, 3);
}

#[tokio::test]
async fn a_misconfigured_answer_is_a_503() {
    let setup = Setup::new();
    type Incomplete = fn(TrustedIssuer) -> TrustedIssuer;
    let answers: [Incomplete; 3] = [
        |it| it,
        |it| it.audience("orders"),
        |it| it.any_audience().jwks("{}"),
    ];
    for (at, answer) in answers.into_iter().enumerate() {
        let issuer = customer(&at.to_string(), &setup.clock);
        let name = issuer.issuer().to_owned();
        let answer = move || Ok(Some(answer(TrustedIssuer::new(&name))));
        setup.script.answer(issuer.issuer(), answer);
        let reason = rejection(&setup.tokens, &issuer.token().sign()).await;
        assert_eq!(reason, Reason::Unavailable, "{at}");
    }
}

#[tokio::test]
async fn configured_issuers_are_never_asked_about() {
    let (us, clock, _hand) = crate::support::issuer();
    let script = super::Script::new();
    let acme = customer("acme", &clock);
    script.trust(&acme);
    let tokens = crate::support::for_issuer(&us, &clock)
        .issuer_resolver(script.clone())
        .without_revocations()
        .build()
        .unwrap();
    verify(&tokens, &us.token().sign()).await.unwrap();
    assert_eq!(script.asked(), 0);
    verify(&tokens, &acme.token().sign()).await.unwrap();
    assert_eq!(script.asked(), 1);
    assert_eq!(tokens.issuers(), [ISSUER]);
}

#[tokio::test]
async fn settings_of_no_issuer_are_an_error() {
    let setup = super::Script::new();
    let (clock, _hand) = tower_revoke_core::Clock::manual(crate::support::START);
    let start = || setup.verifier(&clock);
    assert!(matches!(
        start().audience("orders").build().unwrap_err(),
        JwtVerifierError::MissingIssuer
    ));
    for wrong in [
        start().issuer_capacity(0),
        start().issuer_lookups_per_second(0),
    ] {
        assert!(matches!(
            wrong.build().unwrap_err(),
            JwtVerifierError::Zero(_)
        ));
    }
    for wrong in [
        start().issuer_max_age(Duration::ZERO),
        start().issuer_retry_interval(Duration::MAX),
    ] {
        let error = wrong.build().unwrap_err();
        assert!(matches!(error, JwtVerifierError::TimeOutOfBounds { .. }));
    }
}

#[tokio::test]
async fn of_several_tokens_one_of_a_new_issuer_is_verified() -> Result<(), BoxError> {
    let setup = Setup::new();
    let token = bearer(&setup.acme.token().sign());
    let caller = setup.tokens.verify_candidate(&token).await?;
    assert_eq!(caller.subject(), Some("ann"));
    Ok(())
}
