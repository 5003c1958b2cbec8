//! Bugs of other projects, by their numbers in `traps.md`.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tower_revoke_core::{Reason, TokenId, TokenStatus};
use tower_revoke_jwt::{IssuerError, JwtVerifier, JwtVerifierError};
use tower_revoke_testing::{TestAlgorithm, TestIssuer, error_report};

use crate::support::*;

/// A token without the claim passed.
#[tokio::test]
async fn trap_04_without_a_jti_a_token_is_still_revocable() {
    let (issuer, clock, _hand) = issuer();
    let list = FakeList::default();
    let tokens = for_issuer(&issuer, &clock)
        .revocations(list.clone())
        .build()
        .unwrap();
    for token in [
        issuer.token().without("jti"),
        issuer.token().claim("jti", 7),
        issuer.token().claim("jti", ""),
        issuer.token().claim("jti", json!(["a"])),
        issuer.token().claim("jti", Value::Null),
    ] {
        let token = token.sign();
        let (input, _) = token.rsplit_once('.').unwrap();
        let caller = verify(&tokens, &token).await.unwrap();
        assert_eq!(caller.token_id(), TokenId::of_signing_input(input));
        list.list(caller.token_id(), TokenStatus::Revoked);
        assert_eq!(rejection(&tokens, &token).await, Reason::Revoked);
    }
}

/// The order n of P-256 (SEC 2 §2.4.2).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Replaces s by n − s, which gives an equally valid signature.
fn malleated(token: &str) -> String {
    let (input, signature) = token.rsplit_once('.').unwrap();
    let mut signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for (s, n) in signature[32..].iter_mut().zip(ORDER).rev() {
        let difference = i16::from(n) - i16::from(*s) - borrow;
        borrow = i16::from(difference < 0);
        *s = difference.rem_euclid(256) as u8;
    }
    format!("{input}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// The list was keyed by the signature or by the whole token.
#[tokio::test]
async fn trap_05_another_signature_is_the_same_token() {
    let (issuer, clock, _hand) = issuer_with(TestAlgorithm::ES256);
    let list = FakeList::default();
    let tokens = for_issuer(&issuer, &clock)
        .revocations(list.clone())
        .build()
        .unwrap();
    for token in [issuer.token(), issuer.token().without("jti")] {
        let token = token.sign();
        let twin = malleated(&token);
        assert_ne!(token, twin);
        let (first, second) = (
            verify(&tokens, &token).await.unwrap(),
            verify(&tokens, &twin).await.unwrap(),
        );
        assert_eq!(first.token_id(), second.token_id());
        list.list(first.token_id(), TokenStatus::Revoked);
        for token in [&token, &twin] {
            assert_eq!(rejection(&tokens, token).await, Reason::Revoked);
            assert_eq!(
                cached(&tokens, token).unwrap().unwrap_err(),
                Reason::Revoked
            );
        }
    }
}

/// The last character of a part has unused bits.
#[tokio::test]
async fn trap_05_non_zero_padding_bits_are_rejected() {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (issuer, clock, _hand) = issuer_with(TestAlgorithm::ES256);
    let tokens = verifier(&issuer, &clock);
    let token = issuer.token().sign();
    let (input, signature) = token.rsplit_once('.').unwrap();
    // 64 bytes are 85 characters and 2 bits, so the last four bits must be zero.
    let last = *signature.as_bytes().last().unwrap();
    let value = ALPHABET.iter().position(|byte| *byte == last).unwrap();
    assert_eq!(value & 0b1111, 0);
    for bits in 1..16 {
        let other = char::from(ALPHABET[value | bits]);
        let twin = format!("{input}.{}{other}", &signature[..signature.len() - 1]);
        assert_eq!(rejection(&tokens, &twin).await, Reason::MalformedToken);
    }
    // The same where the issuer itself has signed such a spelling.
    let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#);
    let claims = br#"{"iss":"https://id.example.com","aud":"orders","exp":9999999999}"#;
    let payload = BASE64_URL_SAFE_NO_PAD.encode(claims);
    assert_eq!(
        claims.len() % 3,
        1,
        "four bits of the last character are unused"
    );
    assert!(
        verify(&tokens, &issuer.sign_parts(&header, &payload))
            .await
            .is_ok()
    );
    let (rest, last) = payload.split_at(payload.len() - 1);
    let value = ALPHABET.iter().position(|byte| *byte == last.as_bytes()[0]);
    let other = char::from(ALPHABET[value.unwrap() | 1]);
    let twin = issuer.sign_parts(&header, &format!("{rest}{other}"));
    assert_eq!(rejection(&tokens, &twin).await, Reason::MalformedToken);
}

/// `aud` and `iss` were not enforced where they were absent.
#[tokio::test]
async fn trap_12_what_is_configured_is_required() {
    let (issuer, clock, _hand) = issuer();
    let tokens = for_issuer(&issuer, &clock)
        .require("tenant")
        .without_revocations()
        .build()
        .unwrap();
    let token = || issuer.token().claim("tenant", "a");
    assert!(verify(&tokens, &token().sign()).await.is_ok());
    for claim in ["aud", "iss", "tenant"] {
        let token = token().without(claim).sign();
        assert_eq!(
            rejection(&tokens, &token).await,
            Reason::MissingClaim,
            "{claim}"
        );
    }
    let null = token().claim("tenant", Value::Null).sign();
    assert_eq!(rejection(&tokens, &null).await, Reason::MissingClaim);

    let without_audience = keys_of(JwtVerifier::issuer(ISSUER), &issuer)
        .without_revocations()
        .build();
    assert!(matches!(
        without_audience,
        Err(JwtVerifierError::Issuer(_, IssuerError::MissingAudience))
    ));
}

/// One bad JWK caused the whole set to be rejected.
#[tokio::test]
async fn trap_14_one_bad_key_never_drops_the_set() {
    let (issuer, clock, _hand) = issuer_with(TestAlgorithm::ES256);
    let rsa = TestIssuer::with(ISSUER, TestAlgorithm::RS256);
    let good = issuer.jwks()["keys"][0].clone();
    let rsa = rsa.jwks()["keys"][0].clone();
    let change = |key: &Value, member: &str, value: Value| {
        let mut key = key.clone();
        key[member] = value;
        key
    };
    let bad = [
        json!(null),
        json!("key"),
        json!({}),
        json!({"kty": 7}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
        json!({"kty": "oct", "alg": "HS256", "k": "A".repeat(43)}),
        json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
        json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "A".repeat(43)}),
        json!({"kty": "RSA", "alg": "RS256"}),
        change(&good, "x", json!("!!")),
        change(&good, "x", json!("")),
        change(&good, "x", json!(7)),
        change(&good, "kid", json!(7)),
        change(&good, "alg", json!("ES384")),
        change(&good, "alg", json!("none")),
        change(&good, "use", json!("enc")),
        change(&good, "key_ops", json!("verify")),
        change(&rsa, "n", json!("AQAB")),
        change(&rsa, "n", json!("")),
        change(&rsa, "e", json!("")),
        change(&rsa, "e", json!("AA")),
        change(&rsa, "alg", json!("RSA-OAEP")),
        change(&rsa, "alg", json!("PS256")),
    ];
    let build = |keys: Vec<Value>| {
        JwtVerifier::issuer(ISSUER)
            .audience("orders")
            .jwks(json!({ "keys": keys }).to_string())
            .clock(clock.clone())
            .without_revocations()
            .build()
    };
    let token = issuer.token().sign();
    for key in &bad {
        let alone = build(vec![key.clone()]);
        assert!(
            matches!(
                alone,
                Err(JwtVerifierError::Issuer(
                    _,
                    IssuerError::NoUsableKey { skipped: 1, .. }
                ))
            ),
            "{key}: {alone:?}"
        );
        let tokens = build(vec![key.clone(), good.clone()]).unwrap();
        assert!(verify(&tokens, &token).await.is_ok(), "{key}");
    }
    let all = bad.iter().cloned().chain([good]).collect();
    assert!(verify(&build(all).unwrap(), &token).await.is_ok());
}

/// Debug output contained secrets and tokens.
#[tokio::test]
async fn trap_17_debug_shows_no_secret() {
    let (issuer, clock, _hand) = issuer_with(TestAlgorithm::HS256);
    let secret = issuer.secret();
    let text = BASE64_URL_SAFE_NO_PAD.encode(&secret);
    let list = FakeList::default();
    let builder = for_issuer(&issuer, &clock).revocations(list.clone());
    let mut shown = format!("{builder:?}");
    let tokens = builder.build().unwrap();
    let token = issuer.token().sign();
    let caller = verify(&tokens, &token).await.unwrap();
    list.list(caller.token_id(), TokenStatus::Revoked);
    let revoked = verify(&tokens, &token).await.unwrap_err();
    let malformed = issuer.sign_raw(r#"{"alg":"HS256"}"#, r#"{"a":"sesame","a":1}"#);
    let malformed = verify(&tokens, &malformed).await.unwrap_err();
    let weak = for_issuer(&issuer, &clock)
        .secret(tower_revoke_jwt::Algorithm::HS512, "sesame")
        .without_revocations()
        .build()
        .unwrap_err();
    shown += &format!("{tokens:?} {caller:?}");
    shown += &error_report(&revoked);
    shown += &error_report(&malformed);
    shown += &error_report(&weak);
    let (_, signature) = token.rsplit_once('.').unwrap();
    let decimal = format!("{secret:?}");
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    for secret in [text.as_str(), &decimal, &hex, &token, signature, "sesame"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
