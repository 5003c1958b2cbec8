//! Tests of the issuer: jsonwebtoken verifies what it signs.

use jsonwebtoken::EncodingKey;
use std::time::Duration;

use tower_revoke_core::UnixTime;

use super::*;

fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn every_algorithm_signs_what_its_published_key_verifies() {
    for algorithm in TestAlgorithm::ALL {
        let issuer = TestIssuer::with("https://id.example.com", algorithm);
        let token = issuer.token().sign();
        let (input, signature) = token.rsplit_once('.').unwrap();
        let jwk = serde_json::from_value(issuer.jwks()["keys"][0].clone()).unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
        let verifier =
            (DEFAULT_PROVIDER.verifier_factory)(&algorithm.jsonwebtoken(), &key).unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(
            verifier.verify(input.as_bytes(), &signature).is_ok(),
            "{algorithm:?}"
        );
        assert_eq!(part(&token, 0)["alg"], algorithm.name());
    }
}

#[test]
fn the_private_key_is_the_one_that_signs() {
    let check = |algorithm, read: fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>| {
        let issuer = TestIssuer::with("https://id.example.com", algorithm);
        let key = read(issuer.private_pem().as_bytes()).unwrap();
        assert_eq!(key.as_bytes(), issuer.current().private.as_bytes());
    };
    check(TestAlgorithm::RS256, EncodingKey::from_rsa_pem);
    check(TestAlgorithm::ES384, EncodingKey::from_ec_pem);
    check(TestAlgorithm::EdDSA, EncodingKey::from_ed_pem);
}

#[test]
fn a_rotated_key_is_another_key() {
    let issuer = TestIssuer::with("https://id.example.com", TestAlgorithm::ES256);
    let old = (issuer.key_id(), issuer.public_der());
    let new = issuer.rotate();
    assert_eq!(issuer.key_id(), new);
    assert_ne!(old, (new, issuer.public_der()));
}

#[test]
fn a_withdrawn_key_is_not_published_and_still_signs() {
    let issuer = TestIssuer::with("https://id.example.com", TestAlgorithm::EdDSA);
    let key_id = issuer.key_id();
    assert!(issuer.withdraw(&key_id));
    assert!(!issuer.withdraw(&key_id));
    assert_eq!(issuer.jwks(), json!({"keys": []}));
    assert_eq!(part(&issuer.token().sign(), 0)["kid"], key_id);
}

#[test]
fn the_builder_sets_every_claim() {
    let (clock, _hand) = Clock::manual(UnixTime::from_secs(10_000));
    let issuer = TestIssuer::with("https://id.example.com", TestAlgorithm::HS256).clock(clock);
    let token = issuer
        .token()
        .subject("bob")
        .scope("a b")
        .claim("tenant", json!({"id": 7}))
        .without("jti")
        .expires_in(Duration::from_secs(60))
        .header("typ", "at+jwt")
        .without_header("kid")
        .sign();
    assert_eq!(part(&token, 0), json!({"alg": "HS256", "typ": "at+jwt"}));
    assert_eq!(
        part(&token, 1),
        json!({
            "iss": "https://id.example.com", "sub": "bob", "aud": "orders",
            "client_id": "shop", "scope": "a b", "tenant": {"id": 7},
            "iat": 10_000, "exp": 10_060,
        })
    );
}

#[test]
fn the_set_is_written_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let issuer = TestIssuer::with("https://id.example.com", TestAlgorithm::EdDSA);
    issuer.write_jwks(&path).unwrap();
    issuer.rotate();
    issuer.write_jwks(&path).unwrap();
    let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(written, issuer.jwks());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn debug_shows_no_secret() {
    let issuer = TestIssuer::with("https://id.example.com", TestAlgorithm::HS256);
    let secret = BASE64_URL_SAFE_NO_PAD.encode(issuer.secret());
    let shown = format!("{issuer:?} {:?}", issuer.token());
    assert!(!shown.contains(&secret), "{shown}");
}
