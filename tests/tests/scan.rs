//! Tests that a scan with forged tokens leaves no state in the whole stack.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response, header::AUTHORIZATION};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_revoke::{
    Condition, HttpsClient, JwtVerifier, MemoryStore, Monitor, RequireBearerLayer, RevocationList,
    RevokeAfterResponseLayer,
    core::{BearerToken, Endpoint, TokenVerifier},
};
use tower_revoke_testing::{ScriptedStore, StoreOp, TestAlgorithm, TestIssuer, rounds};
use tower_revoke_tests::{Answer, Server, get};

/// TRAPS 14 and 15: 179,000 metric series from a scan, and an issuer flooded by unknown key ids.
#[tokio::test(flavor = "multi_thread")]
async fn trap_15_a_scan_leaves_no_series_no_entry_and_one_fetch() {
    let issuer = Arc::new(TestIssuer::with(
        "https://id.example.com",
        TestAlgorithm::ES256,
    ));
    let fetched = Arc::new(AtomicU64::new(0));
    let keys = {
        let (issuer, fetched) = (issuer.clone(), fetched.clone());
        Server::start(service_fn(move |_: Request<Incoming>| {
            fetched.fetch_add(1, Ordering::Relaxed);
            let keys = Full::new(Bytes::from(issuer.jwks().to_string()));
            async move { Ok::<_, Infallible>(Response::new(keys)) }
        }))
        .await
    };
    let (store, script) = ScriptedStore::over(MemoryStore::new());
    let list = RevocationList::builder(store)
        .max_staleness(Duration::from_secs(3600))
        .build()
        .expect("valid settings");
    let url = Endpoint::plain_http(&format!("http://{}/keys", keys.addr)).expect("an endpoint");
    let tokens = JwtVerifier::issuer(issuer.issuer())
        .audience("api")
        .jwks_url(url)
        .http_client(HttpsClient::new().expect("a client"))
        .key_refetch_interval(Duration::from_secs(3600))
        .revocations(list.clone())
        // Small, so that entries of the scan would evict the valid token.
        .cache_capacity(64)
        .build()
        .expect("a verifier");
    let monitor = Monitor::new();
    let service = service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
    });
    let service = RevokeAfterResponseLayer::new()
        .when(Condition::scope("OTT"))
        .layer(service);
    let service = RequireBearerLayer::new(tokens.clone()).layer(service);
    let service = monitor.layer("api").layer(service);

    let good = issuer.token().subject("ann").audience("api").sign();
    assert_eq!(call(&service, &good).await, "200");
    let asked = script.calls(StoreOp::LookUp);
    let kept = list.stats().kept;

    let scan = rounds(40_000, 200_000);
    for number in 0..scan {
        let forged = forged(&good, number);
        assert_eq!(
            call(&service, &forged).await,
            "401 invalid_token",
            "{forged}"
        );
    }

    let fetches = fetched.load(Ordering::Relaxed);
    assert!(fetches <= 2, "{fetches} fetches in one window");
    assert_eq!(script.calls(StoreOp::LookUp), asked, "the store was asked");
    assert_eq!(list.stats().kept, kept);
    let seen = get("/", &good);
    let seen = BearerToken::from_authorization(&seen.headers()[AUTHORIZATION]);
    let seen = seen.expect("a readable header").expect("a token");
    let still = tokens.verify_cached(&seen);
    assert!(still.is_some(), "the valid token was evicted");

    let counted = monitor.snapshot();
    assert_eq!(counted.services.len(), 1);
    let api = &counted.services["api"];
    assert_eq!(
        api.clients.keys().map(|name| &**name).collect::<Vec<_>>(),
        ["ann"]
    );
    assert_eq!(api.anonymous.rejected, scan);
    assert_eq!(api.total.in_flight, 0);
    assert_eq!(call(&service, &good).await, "200");
}

/// Forges, in turn: an unknown key id, other claims under the valid key id, and a malformed token.
fn forged(good: &str, number: u64) -> String {
    let encode = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
    let header = good.split('.').next().expect("a header");
    let claims = encode(format!(
        r#"{{"iss":"https://id.example.com","aud":"api","sub":"client-{number}","jti":"{number}","exp":99999999999}}"#
    ));
    // As long as an ES256 signature.
    let signature = BASE64_URL_SAFE_NO_PAD.encode([number.to_le_bytes(); 8].concat());
    match number % 4 {
        0 => format!("{header}.{claims}.{signature}"),
        1 | 2 => {
            let unknown = encode(format!(r#"{{"alg":"ES256","kid":"key-{number}"}}"#));
            format!("{unknown}.{claims}.{signature}")
        }
        _ => format!("{number}.{claims}.{signature}"),
    }
}

async fn call<S, B>(service: &S, token: &str) -> String
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let response = service.clone().oneshot(get("/", token)).await;
    let (head, body) = response.expect("an answer").into_parts();
    let answer = Answer {
        status: head.status,
        headers: head.headers,
        bytes: body.collect().await.expect("a body").to_bytes(),
        trailers: None,
        whole: true,
    };
    answer.verdict()
}
