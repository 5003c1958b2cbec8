//! Runs in a process where jsonwebtoken's default provider panics, as it does where two crates
//! enable two crypto features.
#![cfg(feature = "aws-lc-rs")]

#[allow(dead_code, unreachable_pub, reason = "one test uses a part of it")]
#[allow(clippy::unwrap_used, reason = "this is a test")]
#[path = "it/support.rs"]
mod support;

use jsonwebtoken::crypto::{CryptoProvider, KeyUtils};
use tower_revoke_testing::TestAlgorithm;

use self::support::*;

static PANICS: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| panic!("the process-wide provider was asked to sign"),
    verifier_factory: |_, _| panic!("the process-wide provider was asked to verify"),
    key_utils: KeyUtils::new_unimplemented(),
};

/// TRAPS 13 and 36: the verifier neither installs nor uses a process-wide default.
#[tokio::test]
async fn trap_36_no_process_wide_provider_is_used() {
    PANICS.install_default().expect("no provider is installed");
    for algorithm in TestAlgorithm::ALL {
        let (issuer, clock, _hand) = issuer_with(algorithm);
        let tokens = verifier(&issuer, &clock);
        let token = issuer.token().sign();
        assert!(verify(&tokens, &token).await.is_ok(), "{algorithm:?}");
    }
    assert!(
        std::panic::catch_unwind(|| {
            jsonwebtoken::crypto::verify(
                "",
                b"",
                &jsonwebtoken::DecodingKey::from_secret(b""),
                jsonwebtoken::Algorithm::HS256,
            )
        })
        .is_err(),
        "the panicking provider is installed"
    );
}
