//! Properties of a key set from an issuer, or from an attacker in its place.

use std::sync::LazyLock;

use futures_util::FutureExt;
use serde_json::{Value, json};
use tower_revoke_core::{BearerToken, Clock, TokenVerifier, UnixTime};
use tower_revoke_jwt::{Algorithm, JwtVerifier, JwtVerifierError};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use crate::json::names;

const ISSUER: &str = "https://id.example.com";

struct World {
    clock: Clock,
    good: Value,
    token: BearerToken,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (clock, _) = Clock::manual(UnixTime::from_secs(1_800_000_000));
    let issuer = TestIssuer::with(ISSUER, TestAlgorithm::ES256).clock(clock.clone());
    let token = BearerToken::new(&issuer.token().sign()).expect("a token");
    let good = issuer.jwks()["keys"][0].clone();
    World { clock, good, token }
});

/// A set is an object whose `keys` are a list. Whatever else is in the list, a valid key verifies
/// its tokens.
pub(crate) fn jwks(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(tokens) = verifier(text) {
        let value: Value = serde_json::from_str(text).expect("a key set is JSON");
        let keys = value["keys"]
            .as_array()
            .expect("a key set is an object with a list");
        assert!(keys.iter().any(Value::is_object), "it contains no key");
        let once = names(input).expect("an object").0;
        let once = once.iter().filter(|(name, _)| name == "keys").count();
        assert_eq!(once, 1, "duplicate keys are ambiguous");
        // Only the issuer has the key.
        assert!(
            value.to_string().contains("\"kty\"") && !passes(&tokens) || text.contains(good_x())
        );
    }
    if let Ok(junk) = serde_json::from_str::<Value>(text) {
        let set = json!({"keys": [junk, WORLD.good, junk]}).to_string();
        // Only a set that is too large may be rejected with its valid key.
        if set.len() < 1024 * 1024 {
            let tokens = verifier(&set).expect("one key is good");
            assert!(passes(&tokens), "{junk} disables the valid key");
        }
    }
}

/// Returns the x coordinate of the valid key.
fn good_x() -> &'static str {
    WORLD.good["x"].as_str().unwrap_or_default()
}

fn verifier(set: &str) -> Result<JwtVerifier, JwtVerifierError> {
    JwtVerifier::issuer(ISSUER)
        .audience("orders")
        .algorithms([Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA])
        .jwks(set)
        .without_revocations()
        .no_cache()
        .clock(WORLD.clock.clone())
        .build()
}

fn passes(tokens: &JwtVerifier) -> bool {
    let verdict = tokens.verify(&WORLD.token).now_or_never();
    verdict.expect("no key is fetched").is_ok()
}
