//! Tests which requests hold a permit of a limit inside the bearer layer while an issuer hangs.

use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{future::join_all, poll};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::{Instant, advance, timeout};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_revoke::{
    Clock, JwtVerifier, RequireBearerLayer, RevocationList,
    core::{Endpoint, HttpClient, UnixTime},
};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};
use tower_revoke_tests::get;

const PERMITS: usize = 100;

/// Serves the keys to the first request, and never answers another.
fn hangs_after_one(keys: String, requests: Arc<AtomicUsize>) -> impl HttpClient {
    service_fn(move |_: Request<Full<Bytes>>| {
        let (keys, requests) = (keys.clone(), requests.clone());
        async move {
            if requests.fetch_add(1, Ordering::Relaxed) > 0 {
                pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(keys)))
        }
    })
}

/// TRAPS 44: a known token used to wait 4.8 s for a permit.
#[tokio::test(start_paused = true)]
async fn trap_44_a_known_token_is_served_while_others_wait_for_their_keys() {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_700_000_000));
    let issuer = TestIssuer::with("https://id.example.com", TestAlgorithm::ES256);
    let issuer = issuer.clock(clock.clone());
    let asked = Arc::new(AtomicUsize::new(0));
    let client = hangs_after_one(issuer.jwks().to_string(), asked.clone());
    let tokens = JwtVerifier::issuer(issuer.issuer())
        .audience("api")
        .jwks_url(Endpoint::new("https://id.example.com/keys").expect("a URL"))
        .http_client(client)
        .clock(clock)
        .revocations(RevocationList::in_memory())
        .build()
        .expect("a verifier");
    let app = ServiceBuilder::new()
        .layer(RequireBearerLayer::new(tokens))
        .concurrency_limit(PERMITS)
        .service(service_fn(async |_: Request<_>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }));
    let call = |token: &str| app.clone().oneshot(get("/", token));
    let token = || issuer.token().audience("api").sign();

    let known = token();
    let first = call(&known).await.expect("an answer");
    assert_eq!(first.status(), StatusCode::OK);

    // The issuer never publishes these keys, so their tokens could be anybody's.
    issuer.rotate();
    hand.advance(Duration::from_secs(60));
    advance(Duration::from_secs(60)).await;
    let mut waiting: Vec<_> = (0..2 * PERMITS).map(|_| Box::pin(call(&token()))).collect();
    for call in &mut waiting {
        assert!(poll!(call).is_pending());
    }
    while asked.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }

    let began = Instant::now();
    let again = timeout(Duration::from_secs(60), call(&known)).await;
    let again = again.expect("a permit").expect("an answer");
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(began.elapsed(), Duration::ZERO, "it waited for the issuer");
    for answer in join_all(waiting).await {
        let status = answer.expect("an answer").status();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
}
