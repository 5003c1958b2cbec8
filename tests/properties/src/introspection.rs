//! Properties of an introspection endpoint's answer.

use std::convert::Infallible;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde_json::Value;
use tower::service_fn;
use tower_revoke_core::{BearerToken, Clock, Endpoint, Reason, TokenVerifier, UnixTime};
use tower_revoke_oauth::IntrospectionVerifier;

use crate::json::Members;

const ISSUER: &str = "https://id.example.com";
const NOW: u64 = 1_800_000_000;

/// A token is accepted only if the answer is an object with unique names that says so, of our issuer, for
/// our audience, within its time, and bound to no key. Only an answer of RFC 7662 is ever a 401.
pub(crate) fn introspection(input: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let body = Bytes::copy_from_slice(input);
    let (clock, _hand) = Clock::manual(UnixTime::from_secs(NOW));
    let url = Endpoint::new("https://id.example.com/introspect").expect("a URL");
    let tokens = IntrospectionVerifier::builder(ISSUER, url)
        .client_credentials("orders", "secret")
        .audience("orders")
        .http_client(service_fn(move |_| {
            let response = Response::new(Full::new(body.clone()));
            std::future::ready(Ok::<_, Infallible>(response))
        }))
        .without_revocations()
        .cache_capacity(1)
        .rejected_capacity(1)
        .clock(clock)
        .build()
        .expect("a verifier");
    let token = BearerToken::new("t").expect("a token");
    let verdict = runtime.block_on(tokens.verify(&token));
    let members = serde_json::from_slice::<Members<Value>>(input).ok();
    let members = members.filter(|members| !members.has_twins());
    let active = members.as_ref().and_then(|members| members.get("active"));
    match verdict {
        Err(rejection) if rejection.reason() == Reason::Unavailable => {}
        Err(_) => {
            assert!(matches!(active, Some(Value::Bool(_))), "{active:?}");
            let all = members.as_ref().expect("an answer about a token");
            let are = |names: &[&str], is: fn(&Value) -> bool| {
                names.iter().all(|name| all.get(name).is_none_or(is))
            };
            assert!(are(&["iss", "sub", "client_id"], Value::is_string));
            assert!(are(&["exp", "iat", "nbf"], Value::is_number));
            assert!(are(&["aud"], |aud| aud.is_string() || aud.is_array()));
        }
        Ok(caller) => {
            let members = members.as_ref().expect("an object with unique names");
            assert_eq!(active, Some(&Value::Bool(true)));
            assert!(members.get("cnf").is_none_or(Value::is_null));
            assert_eq!(caller.issuer(), Some(ISSUER));
            let named = members.get("iss").and_then(Value::as_str);
            assert_eq!(named.unwrap_or(ISSUER), ISSUER);
            let audience = members.get("aud").expect("an audience");
            let is_ours = |value: &Value| value == "orders";
            let mut all = audience.as_array().into_iter().flatten();
            assert!(is_ours(audience) || all.any(is_ours));
            let exp = members
                .get("exp")
                .and_then(Value::as_f64)
                .expect("an expiry");
            assert!(exp + 31.0 > NOW as f64, "{exp}");
        }
    }
    if active == Some(&Value::Bool(false)) {
        let verdict = runtime.block_on(tokens.verify(&token));
        assert!(verdict.is_err());
    }
}
