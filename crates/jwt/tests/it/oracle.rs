//! Compares the verifier with jsonwebtoken for every algorithm: both accept and reject the same
//! tokens.

use std::sync::{LazyLock, OnceLock};

use jsonwebtoken::{DecodingKey, Validation, crypto::aws_lc::DEFAULT_PROVIDER};
use proptest::prelude::*;
use tower_revoke_core::Clock;
use tower_revoke_jwt::JwtVerifier;
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use crate::support::{self, ISSUER, algorithm, for_issuer, keys_of, verifier};

/// An issuer for one algorithm, one of its tokens, and both verifiers.
struct Case {
    issuer: TestIssuer,
    token: String,
    ours: JwtVerifier,
    key: DecodingKey,
    validation: Validation,
}

/// The oracle reads the machine's clock, so our verifier does too.
static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    TestAlgorithm::ALL
        .into_iter()
        .map(|algorithm| {
            let issuer = TestIssuer::with(ISSUER, algorithm);
            let jwk = serde_json::from_value(issuer.jwks()["keys"][0].clone()).unwrap();
            let mut validation = Validation::new(algorithm.name().parse().unwrap());
            validation.set_audience(&["orders"]);
            validation.set_issuer(&[ISSUER]);
            validation.set_required_spec_claims(&["exp", "aud", "iss"]);
            validation.leeway = 30;
            validation.validate_nbf = true;
            Case {
                token: issuer.token().sign(),
                ours: verifier(&issuer, &Clock::system()),
                key: DecodingKey::from_jwk(&jwk).unwrap(),
                validation,
                issuer,
            }
        })
        .collect()
});

impl Case {
    fn oracle(&self, token: &str) -> bool {
        static INSTALLED: OnceLock<()> = OnceLock::new();
        INSTALLED.get_or_init(|| DEFAULT_PROVIDER.install_default().unwrap());
        jsonwebtoken::decode::<serde_json::Value>(token, &self.key, &self.validation).is_ok()
    }

    fn ours(&self, token: &str) -> bool {
        let Ok(token) = tower_revoke_core::BearerToken::new(token) else {
            return false;
        };
        run(tower_revoke_core::TokenVerifier::verify(&self.ours, &token)).is_ok()
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn tokens_that_the_oracle_accepts_are_accepted() {
    for case in &*CASES {
        let name = case.issuer.algorithm().name();
        for token in [
            case.token.clone(),
            case.issuer.token().claim("aud", vec!["x", "orders"]).sign(),
            case.issuer.token().without("jti").without("sub").sign(),
            case.issuer
                .token()
                .claim("nested", serde_json::json!({"a": [1.5, null]}))
                .sign(),
        ] {
            assert!(case.oracle(&token), "{name}: the oracle");
            assert!(case.ours(&token), "{name}: ours");
        }
    }
}

#[test]
fn tokens_that_the_oracle_rejects_are_rejected() {
    for case in &*CASES {
        let name = case.issuer.algorithm().name();
        let token = || case.issuer.token();
        let (input, signature) = case.token.rsplit_once('.').unwrap();
        let now = Clock::system().now().as_secs();
        for rejected in [
            token().audience("others").sign(),
            token().without("aud").sign(),
            token().claim("iss", "https://evil.example.com").sign(),
            token().without("iss").sign(),
            token().without("exp").sign(),
            token().expired().sign(),
            token().claim("nbf", now + 600).sign(),
            format!("{input}."),
            format!("{input}.{}", &signature[..signature.len() - 4]),
            format!("{input}.{signature}AAAA"),
            input.to_owned(),
            format!("{}.{signature}", input.split_once('.').unwrap().1),
        ] {
            assert!(
                !case.oracle(&rejected),
                "{name}: the oracle takes {rejected}"
            );
            assert!(!case.ours(&rejected), "{name}: we take {rejected}");
        }
    }
}

#[test]
fn a_key_of_one_algorithm_never_verifies_another() {
    for signer in &*CASES {
        for other in &*CASES {
            if signer.issuer.algorithm() == other.issuer.algorithm() {
                continue;
            }
            let name = other.issuer.algorithm().name();
            let token = signer.issuer.token().header("alg", name).sign();
            assert!(!other.ours(&token), "{name}");
            let token = signer.issuer.token().sign();
            assert!(!other.ours(&token), "{name}");
        }
    }
}

#[test]
fn pem_and_der_keys_verify_what_a_key_set_verifies() {
    for case in &*CASES {
        if case.issuer.algorithm().is_symmetric() {
            continue;
        }
        let algorithm = algorithm(case.issuer.algorithm());
        let builder = || JwtVerifier::issuer(ISSUER).audience("orders");
        for builder in [
            builder().public_pem(algorithm, case.issuer.public_pem()),
            builder().public_der(algorithm, case.issuer.public_der()),
            keys_of(builder(), &case.issuer),
        ] {
            let tokens = builder.without_revocations().build().unwrap();
            assert!(
                run(support::verify(&tokens, &case.token)).is_ok(),
                "{algorithm}"
            );
        }
    }
}

#[test]
fn a_verifier_without_a_cache_answers_the_same() {
    for case in &*CASES {
        let tokens = for_issuer(&case.issuer, &Clock::system())
            .no_cache()
            .without_revocations()
            .build()
            .unwrap();
        assert!(run(support::verify(&tokens, &case.token)).is_ok());
        assert!(support::cached(&tokens, &case.token).is_none());
        let other = case.issuer.token().audience("others").sign();
        assert!(run(support::verify(&tokens, &other)).is_err());
    }
}

/// Replaces one character of a token.
fn tampered(token: &str, at: usize, with: char) -> String {
    let at = at % token.len();
    let mut tampered = String::with_capacity(token.len());
    tampered.push_str(&token[..at]);
    tampered.push(with);
    tampered.push_str(&token[at + 1..]);
    tampered
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_tampered_token_is_rejected_as_the_oracle_rejects_it(
        case in 0..12_usize,
        at in any::<usize>(),
        with in "[A-Za-z0-9_.=-]",
    ) {
        let case = &CASES[case];
        let tampered = tampered(&case.token, at, with.chars().next().unwrap());
        let same = tampered == case.token;
        prop_assert_eq!(case.oracle(&tampered), same, "the oracle: {}", tampered);
        prop_assert_eq!(case.ours(&tampered), same, "ours: {}", tampered);
        // A second call shows that the cache has not learnt anything wrong.
        prop_assert_eq!(case.ours(&tampered), same, "ours: {}", tampered);
    }

    #[test]
    fn signed_payloads_of_any_kind_do_not_panic(
        case in 0..12_usize,
        header in "\\PC{0,40}",
        payload in "\\PC{0,80}",
    ) {
        let case = &CASES[case];
        prop_assert!(!case.ours(&case.issuer.sign_raw(header, payload)));
    }

    #[test]
    fn no_input_panics(token in "[A-Za-z0-9._~+/-]{1,400}={0,3}") {
        for case in &*CASES {
            prop_assert!(!case.ours(&token));
        }
    }

    #[test]
    fn no_json_claims_panic(
        case in 0..12_usize,
        name in "(iss|sub|aud|exp|nbf|iat|jti|cnf|client_id|sid|azp|scope|typ)",
        value in json_value(),
    ) {
        let case = &CASES[case];
        let _ = case.ours(&case.issuer.token().claim(&name, value.clone()).sign());
        let _ = case.ours(&case.issuer.token().header(&name, value).sign());
    }
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "\\PC{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}
