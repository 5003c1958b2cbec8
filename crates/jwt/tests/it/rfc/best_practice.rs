//! RFC 8725: best current practice.

use serde_json::{Value, json};
use tower_revoke_core::Reason;
use tower_revoke_jwt::{Algorithm, IssuerError, JwtVerifier, JwtVerifierError};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use super::{claims, with_jwks};
use crate::support::*;

#[tokio::test]
async fn rfc8725_3_1_only_allowed_algorithms_are_accepted() {
    let (issuer, clock, _hand) = issuer_with(TestAlgorithm::ES256);
    let tokens = JwtVerifier::issuer(ISSUER)
        .audience("orders")
        .jwks(issuer.jwks().to_string())
        .algorithms([Algorithm::ES256])
        .clock(clock.clone())
        .without_revocations()
        .build()
        .unwrap();
    for alg in [
        "RS256", "HS256", "ES384", "PS256", "ES512", "A128KW", "es256", "",
    ] {
        // The same with an unknown key, which is not searched for.
        for kid in [issuer.key_id(), "who".to_owned()] {
            let token = issuer.token().header("alg", alg).header("kid", kid).sign();
            assert_eq!(
                rejection(&tokens, &token).await,
                Reason::AlgorithmNotAllowed,
                "{alg}"
            );
        }
    }
}

#[tokio::test]
async fn rfc8725_3_1_one_key_has_one_algorithm() {
    let (issuer, clock, _hand) = issuer_with(TestAlgorithm::RS256);
    let mut jwks = issuer.jwks();
    jwks["keys"][0].as_object_mut().unwrap().remove("alg");
    let build = |algorithms: &[Algorithm]| {
        JwtVerifier::issuer(ISSUER)
            .audience("orders")
            .jwks(jwks.to_string())
            .algorithms(algorithms.to_vec())
            .clock(clock.clone())
            .without_revocations()
            .build()
    };
    // Bound to the only allowed algorithm that it can serve.
    let tokens = build(&[Algorithm::RS256, Algorithm::ES256]).unwrap();
    assert!(verify(&tokens, &issuer.token().sign()).await.is_ok());
    // Skipped, because two allowed algorithms fit, or none.
    for algorithms in [
        [Algorithm::RS256, Algorithm::PS256].as_slice(),
        &[Algorithm::ES256],
    ] {
        let built = build(algorithms);
        assert!(
            matches!(
                built,
                Err(JwtVerifierError::Issuer(
                    _,
                    IssuerError::NoUsableKey { skipped: 1, .. }
                ))
            ),
            "{built:?}"
        );
    }
}

/// The classic confusion: the public key as an HMAC secret.
#[tokio::test]
async fn rfc8725_3_1_a_public_key_is_never_a_secret() {
    use jsonwebtoken::{EncodingKey, Header};
    let (issuer, clock, _hand) = issuer_with(TestAlgorithm::RS256);
    let tokens = verifier(&issuer, &clock);
    for secret in [
        issuer.public_pem().into_bytes(),
        issuer.public_der(),
        issuer.jwks()["keys"][0]["n"].as_str().unwrap().into(),
    ] {
        let claims: Value = serde_json::from_str(&claims(|_| {})).unwrap();
        let forged = jsonwebtoken::encode(
            &Header::default(),
            &claims,
            &EncodingKey::from_secret(&secret),
        )
        .unwrap();
        assert_eq!(
            rejection(&tokens, &forged).await,
            Reason::AlgorithmNotAllowed
        );
    }
    for public in [
        issuer.public_pem().into_bytes(),
        format!("\n# our key\n{}", issuer.public_pem()).into_bytes(),
        issuer.public_der(),
        issuer.jwks().to_string().into_bytes(),
        issuer.jwks()["keys"][0].to_string().into_bytes(),
    ] {
        let built = JwtVerifier::issuer(ISSUER)
            .audience("orders")
            .secret(Algorithm::HS256, public)
            .without_revocations()
            .build();
        assert!(
            matches!(
                built,
                Err(JwtVerifierError::Issuer(_, IssuerError::SecretIsPublic))
            ),
            "{built:?}"
        );
    }
}

#[tokio::test]
async fn rfc8725_3_2_alg_none_is_never_accepted() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for alg in ["none", "None", "NONE", "nOnE"] {
        let token = issuer.token().header("alg", alg).sign();
        let (input, _) = token.rsplit_once('.').unwrap();
        for token in [token.clone(), format!("{input}.")] {
            assert_eq!(
                rejection(&tokens, &token).await,
                Reason::AlgorithmNotAllowed
            );
        }
    }
}

#[tokio::test]
async fn rfc8725_3_3_a_nested_token_is_rejected() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let inner = issuer.token().sign();
    let token = issuer.sign_raw(r#"{"alg":"ES256","cty":"JWT"}"#, inner);
    assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
}

#[test]
fn rfc8725_3_4_points_off_the_curve_are_rejected() {
    let issuer = TestIssuer::with(ISSUER, TestAlgorithm::ES256);
    let mut jwks = issuer.jwks();
    jwks["keys"][0]["x"] = json!("A".repeat(43));
    jwks["keys"][0]["y"] = json!("A".repeat(43));
    assert!(matches!(
        with_jwks(&jwks),
        Err(JwtVerifierError::Issuer(_, IssuerError::NoUsableKey { .. }))
    ));
}

#[test]
fn rfc8725_3_5_passwords_are_rejected_as_secrets() {
    let built = JwtVerifier::issuer(ISSUER)
        .audience("orders")
        .secret(Algorithm::HS256, "correct horse battery staple")
        .without_revocations()
        .build();
    assert!(matches!(
        built,
        Err(JwtVerifierError::Issuer(_, IssuerError::WeakSecret { .. }))
    ));
}

#[tokio::test]
async fn rfc8725_3_8_keys_belong_to_their_issuer() {
    let ours = TestIssuer::with(ISSUER, TestAlgorithm::ES256);
    let partner = TestIssuer::with("https://partner.example.net", TestAlgorithm::ES256);
    let tokens = JwtVerifier::issuer(ISSUER)
        .audience("orders")
        .jwks(ours.jwks().to_string())
        .and_issuer(partner.issuer())
        .audience("https://orders.example.com")
        .jwks(partner.jwks().to_string())
        .without_revocations()
        .build()
        .unwrap();
    let theirs = partner.token().audience("https://orders.example.com");
    assert!(verify(&tokens, &ours.token().sign()).await.is_ok());
    assert!(verify(&tokens, &theirs.clone().sign()).await.is_ok());
    // Each with the other's audience.
    let token = ours.token().audience("https://orders.example.com").sign();
    assert_eq!(rejection(&tokens, &token).await, Reason::WrongAudience);
    let token = partner.token().audience("orders").sign();
    assert_eq!(rejection(&tokens, &token).await, Reason::WrongAudience);
    // The partner claims to be our issuer.
    let forged = theirs.claim("iss", ISSUER).audience("orders");
    assert_eq!(
        rejection(&tokens, &forged.clone().sign()).await,
        Reason::UnknownKey
    );
    let forged = forged.without_header("kid").sign();
    assert_eq!(rejection(&tokens, &forged).await, Reason::BadSignature);
}

#[tokio::test]
async fn rfc8725_3_9_a_token_without_aud_is_rejected() {
    let (issuer, clock, _hand) = issuer();
    let token = issuer.token().without("aud").sign();
    assert_eq!(
        rejection(&verifier(&issuer, &clock), &token).await,
        Reason::MissingClaim
    );
    let any = keys_of(JwtVerifier::issuer(ISSUER), &issuer)
        .any_audience()
        .clock(clock)
        .without_revocations()
        .build()
        .unwrap();
    assert!(verify(&any, &token).await.is_ok());
}

#[tokio::test]
async fn rfc8725_3_10_a_key_in_the_token_is_ignored() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let forger = TestIssuer::with(ISSUER, TestAlgorithm::ES256).clock(clock);
    let jwk = forger.jwks()["keys"][0].clone();
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!("https://evil.example.com/keys.json")),
        ("x5u", json!("https://evil.example.com/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("kid", json!("../../../../dev/null")),
        ("kid", json!("' OR 1=1 --")),
    ] {
        let token = forger.token().header(name, value.clone()).sign();
        assert_eq!(
            rejection(&tokens, &token).await,
            Reason::UnknownKey,
            "{name}"
        );
        let token = forger
            .token()
            .header(name, value)
            .header("kid", issuer.key_id())
            .sign();
        assert_eq!(
            rejection(&tokens, &token).await,
            Reason::BadSignature,
            "{name}"
        );
    }
    // Keys in the header are ignored, and don't harm a valid token either.
    let token = issuer
        .token()
        .header("jku", "https://evil.example.com")
        .sign();
    assert!(verify(&tokens, &token).await.is_ok());
}

#[tokio::test]
async fn rfc8725_3_11_and_3_12_other_kinds_of_token_are_rejected() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for typ in [
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "application/dpop+jwt",
        // The same length as `application/`.
        "multipart/x/jwt",
        "at",
        "",
        "jwtx",
    ] {
        let token = issuer.token().header("typ", typ).sign();
        assert_eq!(rejection(&tokens, &token).await, Reason::WrongType, "{typ}");
    }
    for typ in ["JWT", "jwt", "application/jwt", "JOSE", "at+jwt"] {
        let token = issuer.token().header("typ", typ).sign();
        assert!(verify(&tokens, &token).await.is_ok(), "{typ}");
    }
    let token = issuer.token().without_header("typ").sign();
    assert!(verify(&tokens, &token).await.is_ok());
    let token = issuer.token().header("typ", 7).sign();
    assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
}
