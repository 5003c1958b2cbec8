//! Tests that an invalid configuration fails the build of the verifier.

use std::time::Duration;

use tower_revoke_core::TokenVerifier;
use tower_revoke_jwt::{Algorithm, IssuerError, JwtVerifier, JwtVerifierBuilder, JwtVerifierError};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use crate::support::*;

fn with_key() -> JwtVerifierBuilder {
    JwtVerifier::issuer(ISSUER).secret(Algorithm::HS256, [7; 32])
}

fn error(builder: JwtVerifierBuilder) -> JwtVerifierError {
    builder.without_revocations().build().unwrap_err()
}

#[test]
fn missing_settings_are_named() {
    let whole = || with_key().audience("orders");
    assert!(whole().without_revocations().build().is_ok());
    assert!(matches!(
        whole().build().unwrap_err(),
        JwtVerifierError::MissingRevocations
    ));
    assert!(matches!(
        error(with_key()),
        JwtVerifierError::Issuer(issuer, IssuerError::MissingAudience) if issuer == ISSUER
    ));
    for builder in [
        with_key().audience(""),
        with_key().audience("orders").audience(""),
        with_key().audience("").any_audience(),
    ] {
        assert!(matches!(
            error(builder),
            JwtVerifierError::Issuer(_, IssuerError::MissingAudience)
        ));
    }
    assert!(matches!(
        error(JwtVerifier::issuer(ISSUER).audience("orders")),
        JwtVerifierError::Issuer(_, IssuerError::MissingKeys)
    ));
    assert!(matches!(
        error(JwtVerifier::issuer("").audience("orders")),
        JwtVerifierError::MissingIssuer
    ));
    assert!(matches!(
        error(whole().algorithms([])),
        JwtVerifierError::Issuer(_, IssuerError::NoAlgorithms)
    ));
    assert!(matches!(
        error(whole().algorithms([Algorithm::HS256, Algorithm::HS512])),
        JwtVerifierError::Issuer(_, IssuerError::MissingSecret(Algorithm::HS512))
    ));
}

#[test]
fn every_issuer_is_checked() {
    let two = |second: &str| {
        with_key()
            .audience("orders")
            .and_issuer(second)
            .secret(Algorithm::HS256, [8; 32])
    };
    assert!(matches!(
        error(two("https://partner.example.net")),
        JwtVerifierError::Issuer(issuer, IssuerError::MissingAudience) if issuer == "https://partner.example.net"
    ));
    assert!(matches!(
        error(two(ISSUER).audience("orders")),
        JwtVerifierError::DuplicateIssuer(issuer) if issuer == ISSUER
    ));
    let first_is_wrong = with_key()
        .and_issuer("https://partner.example.net")
        .audience("orders")
        .secret(Algorithm::HS256, [8; 32]);
    assert!(matches!(
        error(first_is_wrong),
        JwtVerifierError::Issuer(issuer, IssuerError::MissingAudience) if issuer == ISSUER
    ));
}

#[test]
fn settings_that_contradict_each_other_are_named() {
    let audience = || with_key().audience("orders");
    for builder in [
        audience().any_audience(),
        audience().allow_no_expiry().access_tokens_only(),
    ] {
        let error = error(builder);
        assert!(
            matches!(
                error,
                JwtVerifierError::Issuer(_, IssuerError::Contradiction(_))
            ),
            "{error:?}"
        );
    }
    let bounded = FakeList::default().with_max_token_life(Duration::from_secs(60));
    let no_life = audience().allow_no_expiry().revocations(bounded);
    let error = no_life.build().unwrap_err();
    assert!(
        matches!(
            error,
            JwtVerifierError::Issuer(_, IssuerError::Contradiction(_))
        ),
        "{error:?}"
    );
}

/// Entries are kept for this long after the token's `exp`, and no longer.
#[test]
fn trap_43_a_leeway_beyond_the_retention_is_rejected() {
    let with = |secs| {
        with_key()
            .audience("orders")
            .leeway(Duration::from_secs(secs))
    };
    assert!(with(300).without_revocations().build().is_ok());
    let error = error(with(301));
    assert!(
        matches!(error, JwtVerifierError::LeewayTooLong { leeway, max }
            if leeway.as_secs() == 301 && max.as_secs() == 300),
        "{error:?}"
    );
    let words = error.to_string();
    assert!(words.contains("301s") && words.contains("300s"), "{words}");
}

#[test]
fn secrets_and_public_keys_are_never_mixed() {
    let issuer = TestIssuer::with(ISSUER, TestAlgorithm::ES256);
    let audience = || with_key().audience("orders");
    for builder in [
        audience().public_pem(Algorithm::ES256, issuer.public_pem()),
        audience().jwks(issuer.jwks().to_string()),
        audience().jwks_file("keys.json"),
        audience().algorithms([Algorithm::HS256, Algorithm::RS256]),
    ] {
        let error = error(builder);
        assert!(
            matches!(
                error,
                JwtVerifierError::Issuer(_, IssuerError::SecretsMixed)
            ),
            "{error:?}"
        );
    }
    // A symmetric key in a key set is never used as a secret.
    let symmetric = TestIssuer::with(ISSUER, TestAlgorithm::HS256);
    let published = JwtVerifier::issuer(ISSUER)
        .audience("orders")
        .jwks(symmetric.jwks().to_string());
    assert!(matches!(
        error(published),
        JwtVerifierError::Issuer(_, IssuerError::NoUsableKey { skipped: 1, .. })
    ));
}

#[test]
fn a_key_of_the_wrong_type_is_named() {
    let (ec, rsa) = (
        TestIssuer::with(ISSUER, TestAlgorithm::ES256),
        TestIssuer::with(ISSUER, TestAlgorithm::RS256),
    );
    let builder = || JwtVerifier::issuer(ISSUER).audience("orders");
    for wrong in [
        builder().secret(Algorithm::RS256, [7; 64]),
        builder().public_pem(Algorithm::HS256, ec.public_pem()),
        builder().public_der(Algorithm::HS512, ec.public_der()),
    ] {
        let error = error(wrong);
        assert!(
            matches!(
                error,
                JwtVerifierError::Issuer(_, IssuerError::WrongKind(_))
            ),
            "{error:?}"
        );
    }
    for (algorithm, der) in [
        (Algorithm::RS256, ec.public_der()),
        (Algorithm::ES256, rsa.public_der()),
        (Algorithm::EdDSA, ec.public_der()),
        // Raw keys are not DER.
        (Algorithm::EdDSA, vec![0x30; 32]),
        (Algorithm::ES256, ec.public_der()[26..].to_vec()),
        (Algorithm::PS512, Vec::new()),
    ] {
        let error = error(builder().public_der(algorithm, der));
        assert!(
            matches!(error, JwtVerifierError::Issuer(_, IssuerError::BadKey(named)) if named == algorithm),
            "{error:?}"
        );
    }
    assert!(matches!(
        error(builder().public_pem(Algorithm::RS256, "no pem")),
        JwtVerifierError::Issuer(_, IssuerError::BadPem(_))
    ));
    let private = ec.public_pem().replace("PUBLIC", "PRIVATE");
    assert!(matches!(
        error(builder().public_pem(Algorithm::ES256, private)),
        JwtVerifierError::Issuer(_, IssuerError::NotAPublicKey(what)) if what == "PRIVATE KEY"
    ));
    let not_allowed = builder()
        .public_pem(Algorithm::ES256, ec.public_pem())
        .algorithms([Algorithm::RS256]);
    assert!(matches!(
        error(not_allowed),
        JwtVerifierError::Issuer(_, IssuerError::AlgorithmNotAllowed(Algorithm::ES256))
    ));
}

#[test]
fn an_invalid_key_set_is_named() {
    let builder = |json: &str| JwtVerifier::issuer(ISSUER).audience("orders").jwks(json);
    for json in ["", "[]", "{}", r#"{"keys":{}}"#] {
        let error = error(builder(json));
        assert!(
            matches!(
                error,
                JwtVerifierError::Issuer(_, IssuerError::BadKeySet(_))
            ),
            "{error:?}"
        );
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[test]
fn rfc9728_2_the_issuers_of_a_verifier_are_its_authorization_servers() {
    let tokens = with_key()
        .audience("orders")
        .and_issuer("https://partner.example.net")
        .audience("orders")
        .secret(Algorithm::HS256, [8; 32])
        .without_revocations()
        .build()
        .expect("a verifier");
    assert_eq!(tokens.issuers(), [ISSUER, "https://partner.example.net"]);
}
