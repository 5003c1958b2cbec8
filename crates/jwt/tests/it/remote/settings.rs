//! The durations that the builder accepts.

use std::time::Duration;

use tower_revoke_core::Reason;
use tower_revoke_jwt::{Algorithm, IssuerError, JwtVerifier, JwtVerifierError};
use tower_revoke_testing::TestAlgorithm;

use super::{Answer, Client, Setup, at_url};
use crate::support::*;

/// The longest durations that the builder accepts overflow nowhere.
#[tokio::test(start_paused = true)]
async fn durations_of_a_year_do_not_overflow() {
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    for clock_runs in [Duration::ZERO, year] {
        let setup = Setup::with(|builder| {
            builder
                .key_refresh_interval(year)
                .key_refetch_interval(year)
                .key_fetch_timeout(year)
                .key_max_age(year)
        });
        setup.hand.advance(clock_runs);
        setup.client.then(Answer::Fails);
        assert!(setup.tokens.ready().await.is_err());
        setup.client.sent(2).await;
        tokio::task::yield_now().await;
        verify(&setup.tokens, &setup.token()).await.unwrap();
        setup.later(year.as_secs() / 2).await;
        assert_eq!(
            rejection(&setup.tokens, &setup.forged(1)).await,
            Reason::UnknownKey
        );
        setup.client.hold();
        let token = setup.forged(2);
        setup.hand.advance(year);
        let waiting = verify(&setup.tokens, &token);
        assert!(waiting.await.is_err());
        assert!(cached(&setup.tokens, &setup.token()).is_none());
    }
}

#[test]
fn invalid_settings_fail_the_build() {
    let (issuer, clock, _hand) = issuer_with(TestAlgorithm::EdDSA);
    let (client, _gone) = Client::new(&issuer);
    let start = || at_url(&clock, &client);
    let error = start().discover().build().unwrap_err();
    assert!(
        matches!(
            error,
            JwtVerifierError::Issuer(_, IssuerError::Contradiction(_))
        ),
        "{error}"
    );
    let error = start().secret(Algorithm::HS256, [7; 32]).build();
    assert!(matches!(
        error,
        Err(JwtVerifierError::Issuer(_, IssuerError::SecretsMixed))
    ));
    let settings = |time| {
        [
            start().key_refresh_interval(time),
            start().key_refetch_interval(time),
            start().key_fetch_timeout(time),
            start().key_max_age(time),
        ]
    };
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    for wrong in [
        Duration::ZERO,
        Duration::MAX,
        year + Duration::from_nanos(1),
    ] {
        for builder in settings(wrong) {
            let error = builder.build().unwrap_err();
            assert!(
                matches!(error, JwtVerifierError::TimeOutOfBounds { given, .. } if given == wrong),
                "{error}"
            );
        }
    }
    let without = JwtVerifier::issuer(ISSUER)
        .audience("orders")
        .discover()
        .without_revocations();
    let built = without.build();
    if cfg!(feature = "https") {
        assert!(built.is_ok(), "there is a default client");
    } else {
        assert!(matches!(
            built.unwrap_err(),
            JwtVerifierError::Issuer(_, IssuerError::MissingHttpClient)
        ));
    }
    for issuer in ["http://id.example.com", "https://id.example.com?a", "id"] {
        let error = JwtVerifier::issuer(issuer)
            .audience("orders")
            .discover()
            .http_client(client.service())
            .without_revocations()
            .build()
            .unwrap_err();
        assert!(
            matches!(
                error,
                JwtVerifierError::Issuer(_, IssuerError::Discovery(_))
            ),
            "{issuer}"
        );
    }
}
