//! Tests by clause of the RFCs.

mod access_tokens;
mod best_practice;
mod claims;
mod format;
mod keys;

use serde_json::{Value, json};
use tower_revoke_jwt::{JwtVerifier, JwtVerifierError};

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

fn with_jwks(jwks: &Value) -> Result<JwtVerifier, JwtVerifierError> {
    JwtVerifier::issuer(ISSUER)
        .audience("orders")
        .jwks(jwks.to_string())
        .without_revocations()
        .build()
}
