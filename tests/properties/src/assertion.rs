//! Properties of client assertions (RFC 7523).

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, OnceLock},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::service_fn;
use tower_revoke_core::{BearerToken, Clock, Endpoint, TokenVerifier, UnixTime};
use tower_revoke_jwt::{Algorithm, JwtVerifier};
use tower_revoke_oauth::{IntrospectionVerifier, SigningAlgorithm, SigningKey};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

const ISSUER: &str = "https://id.example.com";
const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

/// The first line is a client id, the rest the name of its key. Whatever characters they have, the server
/// reads the same, from an assertion that the client's key has signed, for this server and for a minute.
pub(crate) fn assertion(input: &[u8]) {
    static KEY: OnceLock<TestIssuer> = OnceLock::new();
    let key = KEY.get_or_init(|| TestIssuer::with("client", TestAlgorithm::EdDSA));
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (client, key_id) = text.split_once('\n').unwrap_or((text, ""));
    let form = sent(client, key_id, key);
    if client.is_empty() {
        return assert!(form.is_none(), "there is no such client");
    }
    let form = form.expect("a request");
    let members: Vec<(String, String)> = form_urlencoded::parse(&form).into_owned().collect();
    let member = |name: &str| {
        let mut found = members.iter().filter(|(member, _)| member == name);
        let (_, value) = found.next().expect("a member");
        assert!(found.next().is_none(), "{name} is repeated");
        value.as_str()
    };
    assert_eq!(member("client_id"), client);
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    assert_eq!(member("client_assertion_type"), kind);
    assert!(members.iter().all(|(name, _)| name != "client_secret"));

    let (clock, _hand) = Clock::manual(NOW);
    let server = JwtVerifier::issuer(client)
        .audience(ISSUER)
        .public_pem(Algorithm::EdDSA, key.public_pem())
        .without_revocations()
        .clock(clock);
    let server = server.build().expect("a verifier");
    let assertion = BearerToken::new(member("client_assertion")).expect("a JWT");
    let verified = server.verify(&assertion).now_or_never();
    let caller = verified.expect("at once").expect("a valid assertion");
    assert_eq!(caller.subject(), Some(client));
    assert_eq!(
        caller.expires_at(),
        Some(UnixTime::from_secs(NOW.as_secs() + 60))
    );
    assert!(
        caller
            .token()
            .claims()
            .jwt_id()
            .is_some_and(|id| id.len() >= 22)
    );
    let header = assertion.as_str().split('.').next().expect("a header");
    let header = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, header);
    let header: Value = serde_json::from_slice(&header.expect("base64url")).expect("JSON");
    assert_eq!(header["kid"], key_id);
}

/// Returns the form of a request to the server. `None` if the client can't be built.
fn sent(client: &str, key_id: &str, key: &TestIssuer) -> Option<Bytes> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let signing = SigningKey::from_pem(SigningAlgorithm::EdDSA, key.private_pem().as_bytes());
    let signing = signing.expect("a key").key_id(key_id);
    let (clock, _hand) = Clock::manual(NOW);
    let url = Endpoint::new("https://id.example.com/introspect").expect("a URL");
    let form = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&form);
    let tokens = IntrospectionVerifier::builder(ISSUER, url)
        .private_key_jwt(client, signing)
        .any_audience()
        .http_client(service_fn(move |request: Request<Full<Bytes>>| {
            let seen = Arc::clone(&seen);
            async move {
                let Ok(body) = request.into_body().collect().await;
                *seen.lock().expect("a lock") = Some(body.to_bytes());
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(r#"{"active":false}"#)))
            }
        }))
        .without_revocations()
        .clock(clock)
        .build()
        .ok()?;
    let token = BearerToken::new("t").expect("a token");
    let verdict = runtime.block_on(tokens.verify(&token));
    assert!(verdict.is_err());
    form.lock().expect("a lock").take()
}
