//! Tests that nothing builds and nothing panics without a signature backend. A separate test
//! binary, because the other tests need a backend.
#![cfg(not(feature = "aws-lc-rs"))]

use tower_revoke_jwt::{Algorithm, JwtVerifier, JwtVerifierError};

/// TRAPS 13: the crypto provider panicked on the first request.
#[test]
fn trap_13_without_a_backend_the_build_says_so() {
    let built = JwtVerifier::issuer("https://id.example.com")
        .audience("orders")
        .secret(Algorithm::HS256, [7; 32])
        .without_revocations()
        .build();
    assert!(
        matches!(built, Err(JwtVerifierError::NoBackend)),
        "{built:?}"
    );
}
