//! RFC 7517, 7518 and 8037: key sets and keys.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tower_revoke_core::Reason;
use tower_revoke_jwt::{Algorithm, IssuerError, JwtVerifier, JwtVerifierError};
use tower_revoke_testing::{RecordedLog, TestAlgorithm, TestIssuer};

use super::with_jwks;
use crate::support::*;

#[tokio::test]
async fn rfc7517_4_unknown_members_are_ignored() {
    let issuer = TestIssuer::with(ISSUER, TestAlgorithm::ES256);
    let mut jwks = issuer.jwks();
    jwks["extra"] = json!({"a": 1});
    jwks["keys"][0]["x5t#S256"] = json!("abc");
    jwks["keys"][0]["issuer"] = json!(["x"]);
    let tokens = with_jwks(&jwks).unwrap();
    assert!(verify(&tokens, &issuer.token().sign()).await.is_ok());
}

#[tokio::test]
async fn rfc7517_4_5_duplicate_kids_survive() {
    let (first, second) = (
        TestIssuer::with(ISSUER, TestAlgorithm::ES256),
        TestIssuer::with(ISSUER, TestAlgorithm::ES256),
    );
    let mut keys = vec![
        first.jwks()["keys"][0].clone(),
        second.jwks()["keys"][0].clone(),
    ];
    for key in &mut keys {
        key["kid"] = json!("same");
    }
    let tokens = with_jwks(&json!({ "keys": keys })).unwrap();
    for issuer in [&first, &second] {
        let token = issuer.token().header("kid", "same").sign();
        assert!(verify(&tokens, &token).await.is_ok());
    }
}

#[tokio::test]
async fn rfc7517_4_5_a_kid_selects_and_its_absence_tries_all() {
    let issuer = TestIssuer::with(ISSUER, TestAlgorithm::ES256);
    let old = issuer.token();
    let (old_kid, old) = (issuer.key_id(), old.without_header("kid").sign());
    let new_kid = issuer.rotate();
    let tokens = with_jwks(&issuer.jwks()).unwrap();
    let new = issuer.token();
    assert!(verify(&tokens, &old).await.is_ok());
    assert!(
        verify(&tokens, &new.clone().without_header("kid").sign())
            .await
            .is_ok()
    );
    assert!(
        verify(&tokens, &new.clone().header("kid", new_kid).sign())
            .await
            .is_ok()
    );
    let misnamed = new.clone().header("kid", old_kid).sign();
    assert_eq!(rejection(&tokens, &misnamed).await, Reason::BadSignature);
    let unknown = new.header("kid", "who").sign();
    assert_eq!(rejection(&tokens, &unknown).await, Reason::UnknownKey);
}

#[test]
fn rfc7517_4_2_and_4_3_keys_for_other_uses_are_skipped() {
    let issuer = TestIssuer::with(ISSUER, TestAlgorithm::ES256);
    for (member, value) in [
        ("use", json!("enc")),
        ("use", json!("other")),
        ("key_ops", json!(["sign"])),
        ("key_ops", json!([])),
    ] {
        let mut jwks = issuer.jwks();
        jwks["keys"][0].as_object_mut().unwrap().remove("use");
        jwks["keys"][0][member] = value;
        assert!(
            matches!(
                with_jwks(&jwks),
                Err(JwtVerifierError::Issuer(
                    _,
                    IssuerError::NoUsableKey { skipped: 1, .. }
                ))
            ),
            "{jwks}"
        );
    }
    let mut jwks = issuer.jwks();
    jwks["keys"][0]["key_ops"] = json!(["verify", "sign"]);
    assert!(with_jwks(&jwks).is_ok());
}

#[test]
fn the_error_of_a_set_without_a_usable_key_names_the_reason() {
    let issuer = TestIssuer::with(ISSUER, TestAlgorithm::EdDSA);
    let mut of_another_curve = issuer.jwks()["keys"][0].clone();
    of_another_curve["crv"] = json!("P-256");
    let secret = json!({ "kty": "oct", "alg": "HS256", "k": "A".repeat(43) });
    for (key, reason) in [
        (of_another_curve, "its type is not supported"),
        (
            secret,
            "it is a shared secret, which must not be in a key set",
        ),
        (json!("no key"), "it is not a JWK"),
    ] {
        let error = with_jwks(&json!({ "keys": [key, "no key"] })).unwrap_err();
        let JwtVerifierError::Issuer(_, IssuerError::NoUsableKey { skipped: 2, first }) = error
        else {
            panic!("{error:?}");
        };
        assert_eq!(first, reason);
    }
}

/// Sets often have keys for encryption.
#[test]
fn keys_for_other_uses_cause_no_warning_and_useless_ones_one_for_all() {
    let issuer = TestIssuer::with(ISSUER, TestAlgorithm::ES256);
    let warnings = |other: Value| {
        let mut jwks = issuer.jwks();
        let keys = jwks["keys"].as_array_mut().unwrap();
        keys.extend([other.clone(), other]);
        let log = RecordedLog::start();
        assert!(with_jwks(&jwks).is_ok());
        let lines = log.lines().into_iter();
        lines
            .filter(|line| line.contains("WARN"))
            .collect::<Vec<_>>()
    };
    let mut for_encryption = issuer.jwks()["keys"][0].clone();
    for_encryption["use"] = json!("enc");
    assert_eq!(warnings(for_encryption), [""; 0]);
    let useless = warnings(json!("no key"));
    assert_eq!(useless.len(), 1, "{useless:?}");
    assert!(useless[0].contains("count=2"), "{useless:?}");
}

#[test]
fn rfc7518_3_2_short_secrets_are_rejected() {
    for (algorithm, least) in [
        (Algorithm::HS256, 32),
        (Algorithm::HS384, 48),
        (Algorithm::HS512, 64),
    ] {
        let build = |len| {
            JwtVerifier::issuer(ISSUER)
                .audience("orders")
                .secret(algorithm, vec![7; len])
                .without_revocations()
                .build()
        };
        assert!(build(least).is_ok());
        assert!(matches!(
            build(least - 1),
            Err(JwtVerifierError::Issuer(_, IssuerError::WeakSecret { actual, .. })) if actual == least - 1
        ));
    }
}

#[test]
fn rfc7518_3_3_short_rsa_keys_are_skipped_or_rejected() {
    // 1024 bits: n has 128 bytes.
    let jwk = json!({
        "kty": "RSA", "alg": "RS256", "kid": "short", "e": "AQAB",
        "n": "x".repeat(170) + "w",
    });
    let built = with_jwks(&json!({ "keys": [jwk] }));
    assert!(
        matches!(&built, Err(JwtVerifierError::Issuer(_, IssuerError::NoUsableKey { first, .. })) if first.contains("2048")),
        "{built:?}"
    );
    for pem in [SHORT_RSA_PEM, SHORT_RSA_PKCS1_PEM] {
        let built = JwtVerifier::issuer(ISSUER)
            .audience("orders")
            .public_pem(Algorithm::RS256, pem)
            .without_revocations()
            .build();
        assert!(
            matches!(
                built,
                Err(JwtVerifierError::Issuer(_, IssuerError::RsaSize))
            ),
            "{built:?}"
        );
    }
}

#[test]
fn rfc7518_3_4_a_curve_has_one_algorithm() {
    let p256 = TestIssuer::with(ISSUER, TestAlgorithm::ES256);
    let p384 = TestIssuer::with(ISSUER, TestAlgorithm::ES384);
    for (issuer, wrong) in [(&p256, Algorithm::ES384), (&p384, Algorithm::ES256)] {
        let mut jwks = issuer.jwks();
        jwks["keys"][0]["alg"] = json!(wrong.name());
        assert!(matches!(
            with_jwks(&jwks),
            Err(JwtVerifierError::Issuer(_, IssuerError::NoUsableKey { first, .. })) if first.contains("`alg`")
        ));
        let built = JwtVerifier::issuer(ISSUER)
            .audience("orders")
            .public_pem(wrong, issuer.public_pem())
            .without_revocations()
            .build();
        assert!(
            matches!(built, Err(JwtVerifierError::Issuer(_, IssuerError::BadKey(algorithm))) if algorithm == wrong)
        );
    }
}

#[test]
fn rfc7518_6_2_1_2_coordinates_have_their_full_length() {
    let issuer = TestIssuer::with(ISSUER, TestAlgorithm::ES256);
    let jwks = issuer.jwks();
    let coordinate = |name: &str| {
        let text = jwks["keys"][0][name].as_str().unwrap();
        BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    let point = [coordinate("x"), coordinate("y")].concat();
    for (split, works) in [(32, true), (31, false), (33, false), (0, false)] {
        let mut jwks = jwks.clone();
        let (x, y) = point.split_at(split);
        jwks["keys"][0]["x"] = json!(BASE64_URL_SAFE_NO_PAD.encode(x));
        jwks["keys"][0]["y"] = json!(BASE64_URL_SAFE_NO_PAD.encode(y));
        assert_eq!(with_jwks(&jwks).is_ok(), works, "{split}");
    }
}

/// A 1024-bit key.
const SHORT_RSA_PEM: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC6af8ycs0LJWM2iXj7cp5NdBe3
EZO5Kb2eK2Ko0VaAsk/SRR+vZL5Bv2TNFOirVaXloOnSq4iRsrMmiYM0JLjaO5Rs
oj08QjL9wzcuYhdCmkO9jGON2XQdbzWaU+1L64X6Z3bO91oMNFAyeIpp2P23nd0z
0kRQTvLH1bzCY4yXzwIDAQAB
-----END PUBLIC KEY-----
";

const SHORT_RSA_PKCS1_PEM: &str = "\
-----BEGIN RSA PUBLIC KEY-----
MIGJAoGBALpp/zJyzQslYzaJePtynk10F7cRk7kpvZ4rYqjRVoCyT9JFH69kvkG/
ZM0U6KtVpeWg6dKriJGysyaJgzQkuNo7lGyiPTxCMv3DNy5iF0KaQ72MY43ZdB1v
NZpT7Uvrhfpnds73Wgw0UDJ4imnY/bed3TPSRFBO8sfVvMJjjJfPAgMBAAE=
-----END RSA PUBLIC KEY-----
";
