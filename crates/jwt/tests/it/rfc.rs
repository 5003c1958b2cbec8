//! Tests by clause of the RFCs.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tower_revoke_core::{Reason, TokenId, UnixTime};
use tower_revoke_jwt::{Algorithm, IssuerError, JwtVerifier, JwtVerifierError};
use tower_revoke_testing::{RecordedLog, TestAlgorithm, TestIssuer};

use crate::support::*;

fn claims(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> String {
    let now = START.as_secs();
    let mut claims = json!({
        "iss": ISSUER, "sub": "ann", "aud": "orders", "iat": now, "exp": now + 60, "jti": "1",
    });
    change(claims.as_object_mut().unwrap());
    claims.to_string()
}

fn header() -> String {
    json!({"alg": "ES256", "typ": "JWT"}).to_string()
}

// RFC 7515: the format.

#[tokio::test]
async fn rfc7515_7_1_a_token_has_three_parts() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let token = issuer.token().sign();
    let parts: Vec<_> = token.split('.').collect();
    for malformed in [
        "a".to_owned(),
        parts[..2].join("."),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{}", parts[2]),
        format!("{}..{}", parts[0], parts[2]),
        format!(".{}.{}", parts[1], parts[2]),
        // Five parts are an encrypted token (RFC 7516).
        [parts[0], "", parts[1], parts[1], parts[2]].join("."),
    ] {
        assert_eq!(
            rejection(&tokens, &malformed).await,
            Reason::MalformedToken,
            "{malformed}"
        );
    }
    assert!(verify(&tokens, &token).await.is_ok());
}

#[tokio::test]
async fn rfc7515_2_parts_are_base64url_without_padding() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let token = issuer.token().sign();
    let (input, signature) = token.rsplit_once('.').unwrap();
    for signature in [
        format!("{signature}="),
        format!("{signature}=="),
        format!("+{}", &signature[1..]),
        format!("/{}", &signature[1..]),
        format!("~{}", &signature[1..]),
    ] {
        let token = format!("{input}.{signature}");
        assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    }
}

#[tokio::test]
async fn rfc7515_5_2_a_header_is_utf8() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for header in [
        &b"{\"alg\":\"ES256\",\"x\":\"\xff\"}"[..],
        b"{\"alg\":\"ES256\",\"x\":[\"\xc3\"]}",
        b"{\"alg\":\"ES256\",\"kid\":\"\xff\"}",
    ] {
        let token = issuer.sign_raw(header, claims(|_| {}));
        assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    }
}

#[tokio::test]
async fn rfc7515_4_header_names_are_unique() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for header in [
        r#"{"alg":"ES256","alg":"ES256"}"#,
        r#"{"alg":"ES256","x":1,"x":1}"#,
        r#"{"alg":"ES256","kid":"a","kid":"b"}"#,
        r#"{"alg":"none","alg":"ES256"}"#,
        r#"{"alg":"ES256","\u0061lg":"ES256"}"#,
    ] {
        let token = issuer.sign_raw(header, claims(|_| {}));
        assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    }
    let members: String = (0..32).map(|at| format!(r#","{at}":1"#)).collect();
    let token = issuer.sign_raw(format!(r#"{{"alg":"ES256"{members}}}"#), claims(|_| {}));
    assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    let token = issuer.sign_raw(r#"{"alg":"ES256","x":1}"#, claims(|_| {}));
    assert!(
        verify(&tokens, &token).await.is_ok(),
        "unknown parameters are ignored"
    );
}

#[tokio::test]
async fn rfc7515_4_1_1_alg_is_a_required_string() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for header in [
        "{}",
        r#"{"alg":null}"#,
        r#"{"alg":["ES256"]}"#,
        "[]",
        "1",
        "",
    ] {
        let token = issuer.sign_raw(header, claims(|_| {}));
        assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    }
}

#[tokio::test]
async fn rfc7515_4_1_4_a_kid_is_a_string() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for kid in [json!(7), json!(null), json!(["a"])] {
        let token = issuer.token().header("kid", kid).sign();
        assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    }
}

#[tokio::test]
async fn rfc7515_4_1_11_critical_headers_are_rejected() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for crit in [json!(["exp"]), json!([]), json!(["b64"]), json!(null)] {
        let token = issuer.token().header("crit", crit).sign();
        assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    }
}

#[tokio::test]
async fn rfc7797_3_an_unencoded_payload_is_rejected() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for b64 in [false, true] {
        let token = issuer.token().header("b64", b64).sign();
        assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    }
}

// RFC 7517: key sets.

fn with_jwks(jwks: &Value) -> Result<JwtVerifier, JwtVerifierError> {
    JwtVerifier::issuer(ISSUER)
        .audience("orders")
        .jwks(jwks.to_string())
        .without_revocations()
        .build()
}

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

// RFC 7518 and 8037: keys.

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

// RFC 7519: claims.

#[tokio::test]
async fn rfc7519_4_claim_names_are_unique() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let good = claims(|_| {});
    for extra in [r#","aud":"orders""#, r#","sub":"root""#, r#","x":1,"x":2"#] {
        let payload = format!("{}{extra}}}", &good[..good.len() - 1]);
        let token = issuer.sign_raw(header(), payload);
        assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    }
}

#[tokio::test]
async fn rfc7519_7_2_claims_are_an_object() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let good = claims(|_| {});
    for payload in [
        "[]",
        "null",
        "1",
        "",
        "{",
        &format!("{good}x"),
        &format!("{good}{good}"),
    ] {
        let token = issuer.sign_raw(header(), payload);
        assert_eq!(
            rejection(&tokens, &token).await,
            Reason::MalformedToken,
            "{payload}"
        );
    }
}

#[tokio::test]
async fn rfc7519_4_1_registered_claims_have_their_types() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for (name, value) in [
        ("sub", json!(1)),
        ("aud", json!({"orders": 1})),
        ("aud", json!(["orders", 1])),
        ("exp", json!("2099-01-01")),
        ("exp", json!(-1)),
        ("nbf", json!(null)),
        ("iat", json!([])),
    ] {
        let token = issuer.token().claim(name, value.clone()).sign();
        assert_eq!(
            rejection(&tokens, &token).await,
            Reason::MalformedToken,
            "{name}: {value}"
        );
    }
}

#[tokio::test]
async fn rfc7519_4_1_1_iss_is_compared_exactly() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for iss in [
        json!("https://id.example.com/"),
        json!("HTTPS://id.example.com"),
        json!("https://id.example.co"),
        json!(""),
        json!(["https://id.example.com"]),
        json!(null),
    ] {
        let token = issuer.token().claim("iss", iss.clone()).sign();
        assert_eq!(
            rejection(&tokens, &token).await,
            Reason::WrongIssuer,
            "{iss}"
        );
    }
    let token = issuer.token().without("iss").sign();
    assert_eq!(rejection(&tokens, &token).await, Reason::MissingClaim);
}

#[tokio::test]
async fn rfc7519_4_1_3_aud_must_contain_our_audience() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for aud in [
        json!("others"),
        json!([]),
        json!(["others", "Orders"]),
        json!("orders "),
    ] {
        let token = issuer.token().claim("aud", aud.clone()).sign();
        assert_eq!(
            rejection(&tokens, &token).await,
            Reason::WrongAudience,
            "{aud}"
        );
    }
    for aud in [json!("orders"), json!(["others", "orders"])] {
        let token = issuer.token().claim("aud", aud).sign();
        assert!(verify(&tokens, &token).await.is_ok());
    }
    let two = for_issuer(&issuer, &clock)
        .audience("billing")
        .without_revocations()
        .build()
        .unwrap();
    assert!(
        verify(&two, &issuer.token().audience("billing").sign())
            .await
            .is_ok()
    );
    assert!(
        verify(&two, &issuer.token().audience("orders").sign())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn rfc7519_4_1_4_exp_is_strictly_after_now() {
    let (issuer, clock, hand) = issuer();
    let tokens = for_issuer(&issuer, &clock)
        .leeway(Duration::ZERO)
        .without_revocations()
        .build()
        .unwrap();
    let token = issuer.token().expires_in(Duration::from_secs(60)).sign();
    hand.advance(Duration::from_secs(59));
    assert!(verify(&tokens, &token).await.is_ok());
    hand.advance(Duration::from_secs(1));
    assert_eq!(rejection(&tokens, &token).await, Reason::Expired);

    let without = issuer.token().without("exp").sign();
    assert_eq!(rejection(&tokens, &without).await, Reason::Expired);
    let allowed = for_issuer(&issuer, &clock)
        .allow_no_expiry()
        .without_revocations()
        .build()
        .unwrap();
    assert!(verify(&allowed, &without).await.is_ok());
}

#[tokio::test]
async fn rfc7519_4_1_4_and_4_1_5_the_leeway_applies_both_ways() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let at = |secs: i64| START.as_secs().saturating_add_signed(secs);
    for (claim, secs, expected) in [
        ("exp", -29, None),
        ("exp", -30, Some(Reason::Expired)),
        ("nbf", 30, None),
        ("nbf", 31, Some(Reason::NotYetValid)),
        ("iat", 30, None),
        ("iat", 31, Some(Reason::NotYetValid)),
    ] {
        let token = issuer.token().claim(claim, at(secs)).sign();
        let found = verify(&tokens, &token).await.err();
        assert_eq!(
            found.map(|found| found.reason()),
            expected,
            "{claim} {secs}"
        );
    }
}

#[tokio::test]
async fn rfc7519_4_1_6_a_token_issued_in_the_future_is_rejected() {
    let (issuer, clock, hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let ahead = UnixTime::from_secs(START.as_secs() + 600);
    let token = issuer.token().issued_at(ahead).sign();
    assert_eq!(rejection(&tokens, &token).await, Reason::NotYetValid);
    hand.advance(Duration::from_secs(570));
    assert!(verify(&tokens, &token).await.is_ok());
}

#[tokio::test]
async fn rfc7519_4_1_7_a_jti_is_unique_per_issuer() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let caller = verify(&tokens, &issuer.token().jwt_id("42").sign())
        .await
        .unwrap();
    assert_eq!(caller.token_id(), TokenId::of_jwt(ISSUER, "42"));
}

// RFC 8725: best current practice.

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

// RFC 9068: access tokens.

#[tokio::test]
async fn rfc9068_2_1_typ_is_at_jwt() {
    let (issuer, clock, _hand) = issuer();
    let tokens = for_issuer(&issuer, &clock)
        .access_tokens_only()
        .without_revocations()
        .build()
        .unwrap();
    for typ in [
        "at+jwt",
        "application/at+jwt",
        "AT+JWT",
        "Application/at+JWT",
    ] {
        let token = issuer.token().header("typ", typ).sign();
        assert!(verify(&tokens, &token).await.is_ok(), "{typ}");
    }
    for typ in ["JWT", "at", "at+jwt ", "text/at+jwt", "id+jwt"] {
        let token = issuer.token().header("typ", typ).sign();
        assert_eq!(rejection(&tokens, &token).await, Reason::WrongType, "{typ}");
    }
    let token = issuer.token().without_header("typ").sign();
    assert_eq!(rejection(&tokens, &token).await, Reason::WrongType);
}

#[tokio::test]
async fn rfc9068_2_1_rs256_is_allowed_by_default_and_alg_none_never() {
    let (issuer, clock, _hand) = issuer_with(TestAlgorithm::RS256);
    let tokens = JwtVerifier::issuer(ISSUER)
        .audience("orders")
        .jwks(issuer.jwks().to_string())
        .access_tokens_only()
        .clock(clock)
        .without_revocations()
        .build()
        .unwrap();
    let token = issuer.token().header("typ", "at+jwt");
    assert!(verify(&tokens, &token.clone().sign()).await.is_ok());
    let none = token.header("alg", "none").sign();
    assert_eq!(rejection(&tokens, &none).await, Reason::AlgorithmNotAllowed);
}

#[tokio::test]
async fn rfc9068_2_2_required_claims() {
    let (issuer, clock, _hand) = issuer();
    let tokens = for_issuer(&issuer, &clock)
        .access_tokens_only()
        .without_revocations()
        .build()
        .unwrap();
    let token = || issuer.token().header("typ", "at+jwt");
    for claim in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
        let without = token().without(claim).sign();
        assert_eq!(
            rejection(&tokens, &without).await,
            Reason::MissingClaim,
            "{claim}"
        );
    }
    // `azp` doesn't replace `client_id`, and a jti must be a string.
    let azp = token().without("client_id").claim("azp", "shop").sign();
    assert_eq!(rejection(&tokens, &azp).await, Reason::MissingClaim);
    for jti in [json!(7), json!(""), json!(null)] {
        let token = token().claim("jti", jti).sign();
        assert_eq!(rejection(&tokens, &token).await, Reason::MissingClaim);
    }
}

// RFC 9449: proof of possession.

#[tokio::test]
async fn rfc9449_7_2_a_bound_token_is_no_bearer_token() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for cnf in [
        json!({"jkt": "abc"}),
        json!({"x5t#S256": "abc"}),
        json!({}),
        json!(null),
    ] {
        let token = issuer.token().claim("cnf", cnf).sign();
        assert_eq!(rejection(&tokens, &token).await, Reason::Bound);
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
