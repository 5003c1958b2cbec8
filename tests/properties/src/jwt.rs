//! Properties of a token with a valid signature, and arbitrary other parts.

use std::sync::LazyLock;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use serde_json::value::RawValue;
use tower_revoke_core::{BearerToken, Clock, TokenVerifier, UnixTime};
use tower_revoke_jwt::{Algorithm, JwtVerifier};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use crate::{
    claims::{read, seconds, words},
    json::Members,
};

const ISSUER: &str = "https://id.example.com";
const AUDIENCE: &str = "orders";
const NOW: u64 = 1_800_000_000;
const LEEWAY: u64 = 30;

struct World {
    issuer: TestIssuer,
    tokens: JwtVerifier,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let issuer = TestIssuer::with(ISSUER, TestAlgorithm::HS256);
    let (clock, _) = Clock::manual(UnixTime::from_secs(NOW));
    let tokens = JwtVerifier::issuer(ISSUER)
        .audience(AUDIENCE)
        .secret(Algorithm::HS256, issuer.secret())
        .without_revocations()
        .no_cache()
        .clock(clock)
        .build()
        .expect("a valid configuration");
    World { issuer, tokens }
});

/// A signed text passes if and only if it consists of two canonical parts, with a valid header and
/// valid claims.
pub(crate) fn jwt_split(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (header, payload) = text.split_once('.').unwrap_or((text, ""));
    let expected = (|| {
        let header = decoded(header)?;
        let payload = String::from_utf8(decoded(payload)?).ok()?;
        (is_good_header(&header) && are_good_claims(&payload)).then_some(())
    })();
    assert_passes(
        &WORLD.issuer.sign_parts(header, payload),
        expected.is_some(),
    );
    // Unsigned, or signed over something else, it never passes.
    assert_passes(text, false);
    assert_passes(&format!("{text}.{}", "A".repeat(43)), false);
}

/// A header passes if and only if it is a UTF-8 JSON object with unique names, the only allowed
/// algorithm, a type that an access token may have, and no extensions.
pub(crate) fn jwt_header(input: &[u8]) {
    let claims = format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":{NOW}}}"#);
    assert_passes(&WORLD.issuer.sign_raw(input, claims), is_good_header(input));
}

fn assert_passes(token: &str, expected: bool) {
    // The layer rejects malformed tokens before verification.
    let Ok(bearer) = BearerToken::new(token) else {
        return;
    };
    let verdict = WORLD.tokens.verify(&bearer).now_or_never();
    let verdict = verdict.expect("no key is fetched");
    assert_eq!(verdict.is_ok(), expected, "{token}: {verdict:?}");
}

/// Decodes a part without padding, in its only canonical spelling (RFC 7515 §2).
fn decoded(part: &str) -> Option<Vec<u8>> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
    (BASE64_URL_SAFE_NO_PAD.encode(&bytes) == part).then_some(bytes)
}

fn is_good_header(json: &[u8]) -> bool {
    // RFC 7515 §5.2, step 3.
    let Ok(json) = std::str::from_utf8(json) else {
        return false;
    };
    let Ok(header) = serde_json::from_str::<Members<Box<RawValue>>>(json) else {
        return false;
    };
    if header.has_twins() || header.0.len() > 32 {
        return false;
    }
    let text = |name: &str| {
        let value = header.get(name)?;
        Some(serde_json::from_str::<String>(value.get()).ok())
    };
    let kind = match text("typ") {
        None => "jwt".to_owned(),
        Some(None) => return false,
        Some(Some(kind)) => kind.to_ascii_lowercase(),
    };
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    text("alg") == Some(Some("HS256".to_owned()))
        && text("kid") != Some(None)
        && ["jwt", "jose", "at+jwt"].contains(&kind)
        && header.get("crit").is_none()
        && header.get("b64").is_none()
}

fn are_good_claims(json: &str) -> bool {
    let Some(claims) = read(json) else {
        return false;
    };
    let date = |name: &str, up| {
        let date = claims.get(name).and_then(|date| seconds(date, up));
        date.map(UnixTime::as_secs)
    };
    let has_begun = |date: Option<u64>| date.is_none_or(|date| date.saturating_sub(LEEWAY) <= NOW);
    claims.get("iss").is_some_and(|issuer| issuer == ISSUER)
        && words(claims.get("aud"), false).contains(&AUDIENCE)
        && date("exp", false).is_some_and(|exp| NOW < exp.saturating_add(LEEWAY))
        && has_begun(date("nbf", true))
        && has_begun(date("iat", false))
        && claims.get("cnf").is_none()
}
