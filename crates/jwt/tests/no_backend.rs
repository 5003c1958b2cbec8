//! Without a signature backend nothing is built, and nothing panics. A binary of its own: the others need a
//! backend.
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
