//! The tokens to send: valid ones, and ones that must be rejected.

use std::{sync::Arc, thread, time::Duration};

use http::HeaderValue;
use tower_revoke::{
    Claims, TokenId,
    core::{Revocations, VerifiedToken},
};
use tower_revoke_testing::{TestAlgorithm, TestIssuer, TestToken};

pub const ISSUER: &str = "https://id.example.com";
pub const AUDIENCE: &str = "orders";
pub const REVOKED: &str = "the-one-that-is-revoked";

/// Tokens as values of `Authorization`.
pub struct Tokens {
    pub good: Vec<HeaderValue>,
    pub bad_signature: HeaderValue,
    pub expired: HeaderValue,
    pub revoked: HeaderValue,
}

impl Tokens {
    /// Signs `count` valid tokens, on all cores.
    pub fn sign(issuer: &TestIssuer, count: usize) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let good = thread::scope(|scope| {
            let part = || {
                let tokens = (0..count.div_ceil(threads)).map(|_| token(issuer).sign());
                tokens.map(|token| header(&token)).collect::<Vec<_>>()
            };
            let parts: Vec<_> = (0..threads).map(|_| scope.spawn(part)).collect();
            let signed = |part: thread::ScopedJoinHandle<'_, _>| part.join().expect("it signs");
            let parts = parts.into_iter().flat_map(signed);
            parts.take(count).collect()
        });
        Self {
            good,
            bad_signature: header(&forged(&token(issuer).sign())),
            expired: header(&token(issuer).expired().sign()),
            revoked: header(&token(issuer).jwt_id(REVOKED).sign()),
        }
    }

    /// Returns the id under which the revoked token is listed.
    pub fn revoked_id() -> TokenId {
        TokenId::of_jwt(ISSUER, REVOKED)
    }
}

/// Returns a verified token that never expires, on this list.
pub fn verified(list: Arc<dyn Revocations>) -> Arc<VerifiedToken> {
    let claims = format!(r#"{{"iss": "{ISSUER}", "sub": "ann", "client_id": "app", "sid": "1"}}"#);
    let claims = Claims::from_json(claims).expect("claims");
    let token = VerifiedToken::new(TokenId::of_jwt(ISSUER, "1"), claims, Duration::ZERO);
    token.with_revocations(list).expect("no limit").into()
}

pub fn issuer(algorithm: TestAlgorithm) -> TestIssuer {
    TestIssuer::with(ISSUER, algorithm)
}

/// Returns a token with the usual claims of a real issuer. With RS256 it has about 900 bytes.
fn token(issuer: &TestIssuer) -> TestToken<'_> {
    issuer
        .token()
        .scope("openid profile email orders:read orders:write")
        .claim("sid", "1f6ab5a4-3b4e-4a4e-9d0e-5a3f2f0c6c11")
        .claim("preferred_username", "ann@example.com")
}

fn header(token: &str) -> HeaderValue {
    HeaderValue::try_from(format!("Bearer {token}")).expect("a token is a header value")
}

/// Changes a character in the middle of the signature.
fn forged(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').expect("a signed token");
    let (start, end) = signature.split_at(signature.len() / 2);
    let other = if end.starts_with('A') { 'B' } else { 'A' };
    format!("{message}.{start}{other}{}", &end[1..])
}
