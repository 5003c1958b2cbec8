//! Tests fetched keys with a scripted HTTP client and a manual clock.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use tokio::sync::{Notify, Semaphore, mpsc};
use tower::service_fn;
use tower_revoke_core::{
    BoxError, Clock, DiscoveryError, Endpoint, HealthSource, HealthStatus, HttpClient,
    HttpClientError, ManualClock, MetadataFetchError, Reason, TokenStatus, TokenVerifier,
};
use tower_revoke_jwt::{
    Algorithm, IssuerError, JwtVerifier, JwtVerifierBuilder, JwtVerifierError, KeyFetchError,
    KeySetError,
};
use tower_revoke_testing::{RecordedLog, TestAlgorithm, TestIssuer};

use crate::support::*;

const KEYS: &str = "https://id.example.com/keys";

/// Answers as scripted, once the test allows it.
#[derive(Clone)]
struct Client(Arc<Script>);

struct Script {
    issuer: TestIssuer,
    answers: Mutex<VecDeque<Answer>>,
    always: Mutex<Option<Answer>>,
    asked: Mutex<Vec<(String, HeaderMap)>>,
    gate: Semaphore,
    sent: Notify,
    dropped: mpsc::UnboundedSender<()>,
}

#[derive(Clone)]
enum Answer {
    Keys,
    Is(u16, &'static [(&'static str, &'static str)], String),
    Fails,
    TooLarge,
}

impl Client {
    fn new(issuer: &TestIssuer) -> (Self, mpsc::UnboundedReceiver<()>) {
        let (dropped, gone) = mpsc::unbounded_channel();
        let script = Script {
            issuer: issuer.clone(),
            answers: Mutex::default(),
            always: Mutex::default(),
            asked: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            sent: Notify::new(),
            dropped,
        };
        (Self(Arc::new(script)), gone)
    }

    fn service(&self) -> impl HttpClient + use<> {
        let script = self.0.clone();
        service_fn(move |request| respond(script.clone(), request))
    }

    fn then(&self, answer: Answer) {
        self.0.answers.lock().unwrap().push_back(answer);
    }

    fn always(&self, answer: Answer) {
        *self.0.always.lock().unwrap() = Some(answer);
    }

    fn asked(&self) -> usize {
        self.0.asked.lock().unwrap().len()
    }

    fn last_headers(&self) -> HeaderMap {
        self.0.asked.lock().unwrap().last().unwrap().1.clone()
    }

    fn urls(&self) -> Vec<String> {
        let asked = self.0.asked.lock().unwrap();
        asked.iter().map(|(url, _)| url.clone()).collect()
    }

    fn hold(&self) {
        self.0.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn release(&self) {
        self.0.gate.add_permits(1_000);
    }

    /// Waits until this many requests were sent.
    async fn sent(&self, requests: usize) {
        loop {
            let sent = self.0.sent.notified();
            if self.asked() >= requests {
                return;
            }
            sent.await;
        }
    }
}

/// Reports the end of a request, even if its caller has dropped it.
struct Sent(mpsc::UnboundedSender<()>);

impl Drop for Sent {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

async fn respond(
    script: Arc<Script>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Full<Bytes>>, BoxError> {
    let _sent = Sent(script.dropped.clone());
    let asked = (request.uri().to_string(), request.headers().clone());
    script.asked.lock().unwrap().push(asked);
    script.sent.notify_waiters();
    script.gate.acquire().await.unwrap().forget();
    let answer = script.answers.lock().unwrap().pop_front();
    let answer = answer.or_else(|| script.always.lock().unwrap().clone());
    let (status, headers, body) = match answer.unwrap_or(Answer::Keys) {
        Answer::Keys => (200, &[][..], script.issuer.jwks().to_string()),
        Answer::Is(status, headers, body) => (status, headers, body),
        Answer::Fails => return Err("no route".into()),
        Answer::TooLarge => (200, &[][..], " ".repeat((1 << 20) + 1)),
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Ok(response.body(body.into()).unwrap())
}

struct Setup {
    issuer: TestIssuer,
    client: Client,
    tokens: JwtVerifier,
    hand: ManualClock,
    gone: mpsc::UnboundedReceiver<()>,
}

fn at_url(clock: &Clock, client: &Client) -> JwtVerifierBuilder {
    JwtVerifier::issuer(ISSUER)
        .audience("orders")
        .jwks_url(Endpoint::new(KEYS).unwrap())
        .http_client(client.service())
        .clock(clock.clone())
        .without_revocations()
}

impl Setup {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(more: impl FnOnce(JwtVerifierBuilder) -> JwtVerifierBuilder) -> Self {
        let (issuer, clock, hand) = issuer_with(TestAlgorithm::EdDSA);
        let (client, gone) = Client::new(&issuer);
        let tokens = more(at_url(&clock, &client)).build().unwrap();
        Self {
            issuer,
            client,
            tokens,
            hand,
            gone,
        }
    }

    /// Advances the verifier's clock and tokio's time.
    async fn later(&self, secs: u64) {
        let by = Duration::from_secs(secs);
        self.hand.advance(by);
        tokio::time::sleep(by).await;
    }

    fn token(&self) -> String {
        self.issuer.token().sign()
    }

    fn forged(&self, kid: usize) -> String {
        self.forged_with(kid, "")
    }

    fn forged_with(&self, kid: usize, claims: &str) -> String {
        let header = format!(r#"{{"alg":"EdDSA","kid":"made up {kid}"}}"#);
        let payload = format!(r#"{{"iss":"{ISSUER}","aud":"orders","exp":1900000000{claims}}}"#);
        use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
        format!(
            "{}.{}.{}",
            BASE64.encode(header),
            BASE64.encode(payload),
            BASE64.encode([7; 64]),
        )
    }
}

#[tokio::test(start_paused = true)]
async fn the_build_fetches_nothing_and_the_first_token_does() {
    let setup = Setup::new();
    tokio::task::yield_now().await;
    assert_eq!(setup.client.asked(), 0);
    assert_eq!(setup.tokens.key_stats()[0].age, None);
    let token = setup.token();
    assert!(cached(&setup.tokens, &token).is_none());
    verify(&setup.tokens, &token).await.unwrap();
    assert!(cached(&setup.tokens, &token).unwrap().is_ok());
    assert_eq!(setup.client.urls(), [KEYS]);
    let stats = &setup.tokens.key_stats()[0];
    assert_eq!((stats.keys, stats.fetches, stats.failures), (1, 1, 0));
    assert_eq!(stats.age, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_cached_token_causes_no_fetch() {
    let setup = Setup::new();
    let token = setup.token();
    verify(&setup.tokens, &token).await.unwrap();
    for _ in 0..1_000 {
        assert!(cached(&setup.tokens, &token).unwrap().is_ok());
    }
    assert_eq!(setup.client.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_wait_for_one_fetch() {
    let setup = Setup::new();
    setup.client.hold();
    let tokens: Vec<_> = (0..1_000).map(|_| setup.token()).collect();
    let callers = join_all(tokens.iter().map(|token| verify(&setup.tokens, token)));
    let release = async {
        setup.client.sent(1).await;
        setup.client.release();
    };
    let (answers, ()) = tokio::join!(callers, release);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(setup.client.asked(), 1);
}

/// Above the bound, requests are rejected at once, so that an attacker can't pile them up.
#[tokio::test(start_paused = true)]
async fn no_more_than_1024_callers_wait() {
    let setup = Setup::new();
    setup.client.hold();
    let token = setup.token();
    let rejected = AtomicUsize::new(0);
    let callers = join_all((0..1_100).map(|_| async {
        if verify(&setup.tokens, &token).await.is_err() {
            rejected.fetch_add(1, Ordering::SeqCst);
        }
    }));
    let release = async {
        setup.client.sent(1).await;
        assert_eq!(rejected.load(Ordering::SeqCst), 1_100 - 1_024);
        setup.client.release();
    };
    tokio::join!(callers, release);
    assert_eq!(rejected.load(Ordering::SeqCst), 1_100 - 1_024);
}

/// TRAPS 44: past the bound, a valid token with a new key got a 401, and its client discarded it.
#[tokio::test(start_paused = true)]
async fn trap_44_beyond_the_waiting_limit_a_new_key_is_unavailable() {
    let setup = Setup::new();
    verify(&setup.tokens, &setup.token()).await.unwrap();
    setup.issuer.rotate();
    setup.later(10).await;
    setup.client.hold();
    let (tokens, new) = (&setup.tokens, &setup.token());
    let unsigned: Vec<_> = (0..1_024).map(|kid| setup.forged(kid)).collect();
    let crowd = join_all(unsigned.iter().map(|token| rejection(tokens, token)));
    let beyond = async {
        setup.client.sent(2).await;
        assert_eq!(rejection(tokens, new).await, Reason::Unavailable);
        setup.client.release();
    };
    let (crowd, ()) = tokio::join!(crowd, beyond);
    assert!(crowd.iter().all(|reason| *reason == Reason::UnknownKey));
    verify(tokens, new).await.unwrap();
    assert_eq!(setup.client.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn trap_44_after_a_failed_fetch_a_new_key_is_unavailable_at_once() {
    let setup = Setup::new();
    let old = setup.token();
    verify(&setup.tokens, &old).await.unwrap();
    setup.issuer.rotate();
    setup.later(10).await;
    let (new, unsigned) = (setup.token(), setup.forged(1));
    for failure in [Answer::Fails, Answer::Is(500, &[], String::new())] {
        let asked = setup.client.asked();
        setup.client.then(failure);
        for token in [&new, &unsigned, &new] {
            assert_eq!(rejection(&setup.tokens, token).await, Reason::Unavailable);
            assert_eq!(setup.client.asked(), asked + 1, "one fetch in a window");
        }
        assert!(cached(&setup.tokens, &old).unwrap().is_ok());
        setup.hand.advance(Duration::from_secs(10));
    }
    verify(&setup.tokens, &new).await.unwrap();
    assert_eq!(
        rejection(&setup.tokens, &unsigned).await,
        Reason::UnknownKey,
        "the issuer has confirmed it"
    );
}

#[tokio::test(start_paused = true)]
async fn trap_44_a_token_waits_for_a_hanging_fetch_until_its_timeout() {
    let setup = Setup::new();
    let old = setup.token();
    verify(&setup.tokens, &old).await.unwrap();
    setup.issuer.rotate();
    setup.later(10).await;
    setup.client.hold();
    let started = tokio::time::Instant::now();
    let (new, unsigned) = (setup.token(), setup.forged(1));
    let first = rejection(&setup.tokens, &new);
    let later = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        // A known key waits for nothing.
        assert!(cached(&setup.tokens, &old).unwrap().is_ok());
        rejection(&setup.tokens, &unsigned).await
    };
    let reasons = tokio::join!(first, later);
    assert_eq!(reasons, (Reason::Unavailable, Reason::Unavailable));
    assert_eq!(started.elapsed(), Duration::from_secs(5));
}

/// A fetch that began before a token was issued doesn't prove that its key is unknown.
#[tokio::test(start_paused = true)]
async fn trap_44_only_a_fetch_after_its_iat_makes_a_key_unknown() {
    let setup = Setup::new();
    verify(&setup.tokens, &setup.token()).await.unwrap();
    setup.issuer.rotate();
    setup.later(1).await;
    let new = setup.token();
    let issued = |at: u64| setup.forged_with(1, &format!(r#","iat":{at}"#));
    let began = START.as_secs();
    for (token, reason) in [
        (&new, Reason::Unavailable),
        (&issued(began + 1), Reason::Unavailable),
        (&issued(began), Reason::Unavailable),
        (&issued(began - 1), Reason::UnknownKey),
        (&issued(0), Reason::UnknownKey),
        (&setup.forged(1), Reason::UnknownKey),
    ] {
        assert_eq!(rejection(&setup.tokens, token).await, reason);
    }
    assert_eq!(setup.client.asked(), 1, "one fetch in a window");
    setup.later(9).await;
    verify(&setup.tokens, &new).await.unwrap();
    // Whatever its `iat` says, the token arrived before the fetch that it triggered.
    setup.later(10).await;
    assert_eq!(
        rejection(&setup.tokens, &issued(1_899_999_999)).await,
        Reason::UnknownKey
    );
}

/// The `iat` is not verified at that point.
#[tokio::test(start_paused = true)]
async fn trap_44_a_forged_iat_causes_no_fetch_beyond_the_window() {
    let setup = Setup::new();
    verify(&setup.tokens, &setup.token()).await.unwrap();
    for window in 0..4_u64 {
        for second in 0..10_u64 {
            for iat in [0, START.as_secs() + 10 * window + second, 1_899_999_999] {
                let token = setup.forged_with(1, &format!(r#","iat":{iat}"#));
                assert!(verify(&setup.tokens, &token).await.is_err());
            }
            assert_eq!(setup.client.asked() as u64, 1 + window);
            setup.later(1).await;
        }
    }
}

/// Key sets without a usable key: empty, not for signatures, and malformed.
const WITHOUT_KEYS: [&str; 3] = [
    r#"{"keys":[]}"#,
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","use":"enc","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    r#"{"keys":["no key"]}"#,
];

fn empty(keys: &str) -> Answer {
    Answer::Is(200, &[], keys.to_owned())
}

/// TRAPS 49: an issuer returned an empty set once, and valid tokens got 401.
#[tokio::test(start_paused = true)]
async fn trap_49_a_set_without_a_key_is_unavailable_and_refetched() {
    for keys in WITHOUT_KEYS {
        let setup = Setup::new();
        setup.client.then(empty(keys));
        let token = setup.token();
        assert_eq!(rejection(&setup.tokens, &token).await, Reason::Unavailable);
        assert_eq!(rejection(&setup.tokens, &token).await, Reason::Unavailable);
        let error = setup.tokens.ready().await.unwrap_err();
        assert!(
            matches!(
                keys_unavailable(&error).error(),
                Some(KeyFetchError::KeySet(KeySetError::NoUsableKey))
            ),
            "{error:?}"
        );
        let stats = &setup.tokens.key_stats()[0];
        assert_eq!((stats.failures, stats.unusable), (1, 1));
        let started = tokio::time::Instant::now();
        setup.client.sent(2).await;
        assert!(started.elapsed() <= Duration::from_secs(1));
        tokio::task::yield_now().await;
        verify(&setup.tokens, &token).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn health_tells_how_old_keys_are_and_since_when_fetching_fails() {
    let setup = Setup::new();
    let told = || {
        let check = setup.tokens.health().remove(0);
        assert_eq!((check.name, check.of.as_deref()), ("keys", Some(ISSUER)));
        (check.status, check.output, check.since.is_some())
    };
    let (pass, warn, fail) = (HealthStatus::Pass, HealthStatus::Warn, HealthStatus::Fail);
    assert_eq!(told(), (warn, "not fetched yet".to_owned(), false));
    setup.client.then(empty(WITHOUT_KEYS[0]));
    let token = setup.token();
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::Unavailable);
    let output = "no trusted keys; fetching fails".to_owned();
    assert_eq!(told(), (fail, output, true));
    setup.client.sent(2).await;
    tokio::task::yield_now().await;
    verify(&setup.tokens, &token).await.unwrap();
    assert_eq!(told(), (pass, "1 key, 0 s old".to_owned(), false));
}

/// TRAPS 49: metrics let an operator alert on key sets without a usable key.
#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn trap_49_metrics_count_sets_without_a_key() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let setup = Setup::new();
    setup.client.then(empty(WITHOUT_KEYS[0]));
    assert_eq!(
        rejection(&setup.tokens, &setup.token()).await,
        Reason::Unavailable
    );

    let recorder = DebuggingRecorder::new();
    let stats = &setup.tokens.key_stats()[0];
    metrics::with_local_recorder(&recorder, || stats.report());
    let mut reported: Vec<_> = recorder
        .snapshotter()
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, unit, described, value)| {
            let (_, key) = key.into_parts();
            assert!(unit.is_some() && described.is_some(), "{key}");
            let labels: Vec<_> = key.labels().map(|label| label.value().to_owned()).collect();
            assert_eq!(labels, [stats.issuer.as_str()]);
            let value = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(level) => level.0,
                DebugValue::Histogram(_) => panic!("{key} is a histogram"),
            };
            (key.name().to_owned(), value)
        })
        .collect();
    reported.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("tower_revoke_jwt_key_fetch_failures_total", 1.0),
        ("tower_revoke_jwt_key_fetches_total", 1.0),
        ("tower_revoke_jwt_keys", 0.0),
        ("tower_revoke_jwt_keys_age_seconds", f64::NAN),
        ("tower_revoke_jwt_unusable_key_sets_total", 1.0),
    ];
    assert_eq!(reported.len(), expected.len());
    for ((name, value), (expected_name, expected)) in reported.iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert!(
            *value == expected || value.is_nan() && expected.is_nan(),
            "{name} is {value}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn trap_49_the_keys_of_an_emptied_set_stay_for_ten_minutes() {
    let minutes = |count: u64| Duration::from_secs(count * 60);
    for keys in WITHOUT_KEYS {
        for (trust, stay) in [
            (minutes(120), minutes(10)),
            (minutes(20), minutes(10)),
            (minutes(4), minutes(4)),
        ] {
            let log = RecordedLog::start();
            let setup = Setup::with(|builder| builder.key_max_age(trust));
            let long = setup.issuer.token().expires_in(minutes(300)).sign();
            verify(&setup.tokens, &long).await.unwrap();
            setup.issuer.rotate();
            setup.client.always(empty(keys));
            // Triggers the periodic refresh without advancing the verifier's clock.
            setup.client.sent(2).await;
            tokio::task::yield_now().await;
            let lines = || {
                let lines = log.lines().into_iter();
                lines
                    .filter(|line| !line.contains("skipped"))
                    .collect::<Vec<_>>()
            };
            assert_eq!(lines().len(), 1, "{:?}", lines());
            let new = setup.token();
            setup.hand.advance(stay - Duration::from_secs(1));
            setup.client.sent(20).await;
            assert!(cached(&setup.tokens, &long).unwrap().is_ok());
            assert_eq!(rejection(&setup.tokens, &new).await, Reason::Unavailable);
            setup.hand.advance(Duration::from_secs(1));
            assert!(cached(&setup.tokens, &long).is_none());
            assert_eq!(rejection(&setup.tokens, &long).await, Reason::Unavailable);
            assert!(setup.tokens.ready().await.is_err());
            let stats = &setup.tokens.key_stats()[0];
            assert_eq!(stats.keys, 0);
            assert!(stats.unusable >= 19, "{stats:?}");
            assert!(lines().len() <= 3, "{:?}", lines());
            *setup.client.0.always.lock().unwrap() = None;
            let asked = setup.client.asked();
            setup.client.sent(asked + 1).await;
            tokio::task::yield_now().await;
            verify(&setup.tokens, &long).await.unwrap();
            verify(&setup.tokens, &new).await.unwrap();
        }
    }
}

/// No token was verified meanwhile, so the keys have not been dropped yet.
#[tokio::test(start_paused = true)]
async fn keys_that_are_too_old_are_not_ready() {
    let setup = Setup::new();
    setup.tokens.ready().await.unwrap();
    setup.client.always(Answer::Fails);
    setup.later(2 * 60 * 60).await;
    let error = setup.tokens.ready().await.unwrap_err();
    assert!(keys_unavailable(&error).error().is_some(), "{error:?}");
}

/// Failures of other kinds, before or after, don't extend the grace period of an emptied set.
#[tokio::test(start_paused = true)]
async fn trap_49_an_emptied_set_that_fails_then_gets_no_more_time() {
    let setup = Setup::new();
    let token = setup.token();
    verify(&setup.tokens, &token).await.unwrap();
    setup.client.then(Answer::Fails);
    setup.client.then(empty(WITHOUT_KEYS[0]));
    setup.client.always(Answer::Fails);
    setup.client.sent(4).await;
    tokio::task::yield_now().await;
    setup.hand.advance(Duration::from_secs(599));
    assert!(cached(&setup.tokens, &token).unwrap().is_ok());
    setup.hand.advance(Duration::from_secs(1));
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::Unavailable);
}

/// Otherwise a 304 for the ETag of the empty set would make the old keys fresh again.
#[tokio::test(start_paused = true)]
async fn trap_49_the_etag_of_a_set_without_a_key_is_not_kept() {
    let setup = Setup::new();
    let keys = setup.issuer.jwks().to_string();
    setup
        .client
        .then(Answer::Is(200, &[("etag", "\"full\"")], keys));
    let bare = Answer::Is(200, &[("etag", "\"bare\"")], WITHOUT_KEYS[0].to_owned());
    setup.client.always(bare);
    setup.tokens.ready().await.unwrap();
    for sent in 2..6 {
        setup.client.sent(sent).await;
        assert_eq!(setup.client.last_headers()["if-none-match"], "\"full\"");
    }
}

/// TRAPS 14: the issuer was down at start-up, and the service gave up.
#[tokio::test(start_paused = true)]
async fn trap_14_an_issuer_that_is_down_at_start_up_is_retried() {
    let setup = Setup::new();
    setup.client.always(Answer::Fails);
    let token = setup.token();
    let rejected = verify(&setup.tokens, &token).await.unwrap_err();
    assert_eq!(rejected.reason(), Reason::Unavailable);
    assert!(format!("{rejected:?}").contains("no route"), "{rejected:?}");
    let error = setup.tokens.ready().await.unwrap_err();
    assert_eq!(keys_unavailable(&error).issuer(), ISSUER);
    assert!(matches!(
        keys_unavailable(&error).error(),
        Some(KeyFetchError::Http(HttpClientError::Failed(_)))
    ));
    // While the issuer fails, no request waits, and none triggers an extra fetch.
    for _ in 0..100 {
        assert_eq!(rejection(&setup.tokens, &token).await, Reason::Unavailable);
    }
    assert_eq!(setup.client.asked(), 1);
    setup.client.sent(4).await;
    *setup.client.0.always.lock().unwrap() = None;
    setup.client.sent(5).await;
    tokio::task::yield_now().await;
    setup.tokens.ready().await.unwrap();
    verify(&setup.tokens, &token).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_takes_too_long_is_a_503() {
    let setup = Setup::new();
    setup.client.hold();
    let started = tokio::time::Instant::now();
    let rejected = verify(&setup.tokens, &setup.token()).await.unwrap_err();
    assert_eq!(rejected.reason(), Reason::Unavailable);
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    let error = setup.tokens.ready().await.unwrap_err();
    assert!(matches!(
        keys_unavailable(&error).error(),
        Some(KeyFetchError::TimedOut(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_is_fetched_when_a_token_names_it() {
    let setup = Setup::new();
    let old = setup.token();
    verify(&setup.tokens, &old).await.unwrap();
    setup.issuer.rotate();
    setup.later(10).await;
    verify(&setup.tokens, &setup.token()).await.unwrap();
    assert!(cached(&setup.tokens, &old).unwrap().is_ok());
    assert_eq!(setup.client.asked(), 2);
}

/// TRAPS 50: a stale cookie with a withdrawn key would delay the valid cookie beside it.
#[tokio::test(start_paused = true)]
async fn trap_50_no_keys_are_fetched_for_a_candidate() {
    let setup = Setup::new();
    let candidate = async |token: &str| setup.tokens.verify_candidate(&bearer(token)).await;
    // Without any keys, no token can be verified before a fetch.
    let good = setup.token();
    candidate(&good).await.unwrap();
    assert_eq!(setup.client.asked(), 1);
    setup.later(20).await;
    setup.client.hold();
    let started = tokio::time::Instant::now();
    for token in [setup.forged(1), setup.forged(2)] {
        let rejection = candidate(&token).await.unwrap_err();
        assert_eq!(rejection.reason(), Reason::UnknownKey);
        candidate(&good).await.unwrap();
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(setup.client.asked(), 1);
    // The same token alone waits for a fetch.
    let token = setup.forged(1);
    let alone = rejection(&setup.tokens, &token);
    let release = async {
        setup.client.sent(2).await;
        setup.client.release();
    };
    assert_eq!(tokio::join!(alone, release).0, Reason::UnknownKey);
}

/// TRAPS 50: with the available keys, a candidate is verified like any token.
#[tokio::test(start_paused = true)]
async fn trap_50_a_candidate_is_verified_like_any_token() {
    let (issuer, clock, hand) = issuer_with(TestAlgorithm::EdDSA);
    let (client, _gone) = Client::new(&issuer);
    let list = FakeList::default();
    let tokens = at_url(&clock, &client).revocations(list.clone());
    let tokens = tokens.build().unwrap();
    let token = issuer.token().sign();
    let candidate = async || tokens.verify_candidate(&bearer(&token)).await;
    let caller = candidate().await.unwrap();
    // It is cached like any other, and rejected once its issuer withdraws the key.
    assert!(cached(&tokens, &token).unwrap().is_ok());
    list.answer(Answers::Never);
    assert_eq!(candidate().await.unwrap_err().reason(), Reason::Unavailable);
    list.answer(Answers::WhenAsked);
    list.list(caller.token_id(), TokenStatus::Revoked);
    assert_eq!(candidate().await.unwrap_err().reason(), Reason::Revoked);
    hand.advance(Duration::from_secs(3_700));
    assert_eq!(candidate().await.unwrap_err().reason(), Reason::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_is_found_without_a_kid_too() {
    let setup = Setup::new();
    verify(&setup.tokens, &setup.token()).await.unwrap();
    setup.issuer.rotate();
    setup.later(10).await;
    let token = setup.issuer.token().without_header("kid").sign();
    verify(&setup.tokens, &token).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_bad_signature_under_a_known_kid_fetches_nothing() {
    let setup = Setup::new();
    verify(&setup.tokens, &setup.token()).await.unwrap();
    setup.later(10).await;
    let forger = TestIssuer::with(ISSUER, TestAlgorithm::EdDSA).clock(Clock::system());
    let forged = forger.token().header("kid", setup.issuer.key_id()).sign();
    assert_eq!(
        rejection(&setup.tokens, &forged).await,
        Reason::BadSignature
    );
    assert_eq!(setup.client.asked(), 1);
}

/// TRAPS 14: unknown kids flooded the issuer with fetches.
#[tokio::test(start_paused = true)]
async fn trap_14_unknown_kids_fetch_once_in_a_window() {
    let setup = Setup::new();
    let good = setup.token();
    verify(&setup.tokens, &good).await.unwrap();
    for window in 0..4 {
        for forged in 0..50_000 {
            let forged = setup.forged(window * 50_000 + forged);
            let token = bearer(&forged);
            let rejected = setup.tokens.verify(&token).await.unwrap_err();
            assert_eq!(rejected.reason(), Reason::UnknownKey);
            if window == 3 {
                assert!(setup.tokens.verify_cached(&token).is_none());
            }
        }
        assert_eq!(setup.client.asked(), 1 + window, "one fetch in a window");
        setup.later(10).await;
    }
    assert!(cached(&setup.tokens, &good).unwrap().is_ok());
}

/// Requests that arrive during a fetch wait for it; once it is over, none waits.
#[tokio::test(start_paused = true)]
async fn callers_with_a_new_key_share_one_fetch() {
    let setup = Setup::new();
    verify(&setup.tokens, &setup.token()).await.unwrap();
    setup.issuer.rotate();
    setup.later(10).await;
    setup.client.hold();
    let tokens: Vec<_> = (0..1_000).map(|_| setup.token()).collect();
    let callers = join_all(tokens.iter().map(|token| verify(&setup.tokens, token)));
    let release = async {
        setup.client.sent(2).await;
        setup.client.release();
    };
    let (answers, ()) = tokio::join!(callers, release);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(setup.client.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_is_rejected_on_the_call_after_the_refresh() {
    let setup = Setup::new();
    let token = setup.token();
    verify(&setup.tokens, &token).await.unwrap();
    setup.issuer.withdraw(&setup.issuer.key_id());
    setup.issuer.rotate();
    assert!(cached(&setup.tokens, &token).unwrap().is_ok());
    // Only tokio's time advances, so only the periodic refresh can notice.
    tokio::time::sleep(Duration::from_secs(300)).await;
    setup.client.sent(2).await;
    tokio::task::yield_now().await;
    assert!(cached(&setup.tokens, &token).is_none());
    setup.hand.advance(Duration::from_secs(10));
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::UnknownKey);
}

#[tokio::test(start_paused = true)]
async fn keys_are_refreshed_without_requests() {
    let setup = Setup::new();
    setup.tokens.ready().await.unwrap();
    let started = tokio::time::Instant::now();
    setup.client.sent(13).await;
    let took = started.elapsed().as_secs();
    assert!((12 * 270..=12 * 300).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn max_age_sets_the_refresh_interval() {
    let setup = Setup::new();
    let keys = setup.issuer.jwks().to_string();
    for (headers, least, most) in [
        (&[("cache-control", "max-age=900")][..], 810, 900),
        (&[("cache-control", "max-age=0")][..], 54, 60),
        (&[("cache-control", "max-age=31536000")][..], 3_240, 3_600),
        (&[("cache-control", "no-store")][..], 270, 300),
    ] {
        setup.client.always(Answer::Is(200, headers, keys.clone()));
        if setup.client.asked() == 0 {
            setup.tokens.ready().await.unwrap();
        } else {
            let before = setup.client.asked();
            setup.client.sent(before + 1).await;
            tokio::task::yield_now().await;
        }
        let started = tokio::time::Instant::now();
        let before = setup.client.asked();
        setup.client.sent(before + 1).await;
        let took = started.elapsed().as_secs();
        assert!((least..=most).contains(&took), "{headers:?}: {took}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_too_old_are_not_trusted() {
    let setup = Setup::new();
    let token = setup.token();
    verify(&setup.tokens, &token).await.unwrap();
    setup.client.always(Answer::Fails);
    setup.hand.advance(Duration::from_secs(2 * 3_600 - 1));
    assert!(cached(&setup.tokens, &setup.token()).is_none());
    let long = setup.issuer.token().expires_in(Duration::from_secs(9_000));
    let long = long.sign();
    verify(&setup.tokens, &long).await.unwrap();
    assert!(cached(&setup.tokens, &long).unwrap().is_ok());
    setup.hand.advance(Duration::from_secs(1));
    assert!(cached(&setup.tokens, &long).is_none());
    assert_eq!(rejection(&setup.tokens, &long).await, Reason::Unavailable);
    assert!(setup.tokens.ready().await.is_err());
    assert_eq!(setup.tokens.key_stats()[0].keys, 0);
    // They are back as soon as one fetch succeeds.
    *setup.client.0.always.lock().unwrap() = None;
    setup.client.sent(2).await;
    tokio::task::yield_now().await;
    verify(&setup.tokens, &long).await.unwrap();
}

/// Whatever goes wrong with a fetch, the keys stay until they are too old.
#[tokio::test(start_paused = true)]
async fn trap_14_a_failed_fetch_keeps_the_keys() {
    let setup = Setup::new();
    let token = setup.token();
    verify(&setup.tokens, &token).await.unwrap();
    let many = format!(r#"{{"keys":[{}1]}}"#, "1,".repeat(256));
    let failures = [
        Answer::Fails,
        Answer::TooLarge,
        Answer::Is(500, &[], String::new()),
        Answer::Is(503, &[("retry-after", "1")], String::new()),
        Answer::Is(404, &[], setup.issuer.jwks().to_string()),
        Answer::Is(204, &[], String::new()),
        Answer::Is(
            302,
            &[("location", "https://id.example.com/")],
            String::new(),
        ),
        // An unsolicited 304: no request was conditional.
        Answer::Is(304, &[], String::new()),
        Answer::Is(200, &[], "<html>".into()),
        Answer::Is(200, &[], "{}".into()),
        Answer::Is(200, &[], "[[]]".into()),
        Answer::Is(200, &[], r#"{"keys":7}"#.into()),
        Answer::Is(200, &[], many),
    ];
    let count = failures.len();
    for failure in failures {
        setup.client.then(failure);
    }
    setup.client.sent(1 + count).await;
    tokio::task::yield_now().await;
    assert_eq!(setup.tokens.key_stats()[0].failures, count as u64);
    assert!(cached(&setup.tokens, &token).unwrap().is_ok());
    verify(&setup.tokens, &setup.token()).await.unwrap();
    setup.tokens.ready().await.unwrap();
    setup.client.sent(2 + count).await;
    tokio::task::yield_now().await;
    assert_eq!(setup.tokens.key_stats()[0].failures, count as u64);
}

#[tokio::test(start_paused = true)]
async fn rfc9110_13_1_2_an_unchanged_set_is_not_sent_again() {
    let setup = Setup::new();
    let tag = &[("etag", "\"7\"")];
    let keys = setup.issuer.jwks().to_string();
    setup.client.then(Answer::Is(200, tag, keys));
    setup.client.always(Answer::Is(304, tag, String::new()));
    setup.tokens.ready().await.unwrap();
    assert!(!setup.client.last_headers().contains_key("if-none-match"));
    for sent in 2..30 {
        setup.client.sent(sent).await;
        assert_eq!(setup.client.last_headers()["if-none-match"], "\"7\"");
        tokio::task::yield_now().await;
        setup.hand.advance(Duration::from_secs(300));
    }
    // More than two hours: a 304 renews the age of the keys.
    verify(&setup.tokens, &setup.token()).await.unwrap();
    assert_eq!(setup.tokens.key_stats()[0].failures, 0);
}

#[tokio::test(start_paused = true)]
async fn rfc7517_5_one_bad_key_among_fetched_ones_is_skipped() {
    let setup = Setup::new();
    let mut set = setup.issuer.jwks();
    let keys = set["keys"].as_array_mut().unwrap();
    keys.insert(
        0,
        serde_json::json!({ "kty": "RSA", "n": "?", "e": "AQAB", "kid": "bad" }),
    );
    keys.push(serde_json::json!("no key"));
    setup.client.always(Answer::Is(200, &[], set.to_string()));
    verify(&setup.tokens, &setup.token()).await.unwrap();
    assert_eq!(setup.tokens.key_stats()[0].keys, 1);
}

#[tokio::test(start_paused = true)]
async fn a_static_key_needs_no_fetch_and_works_beside_fetched_keys() {
    let (issuer, clock, _hand) = issuer_with(TestAlgorithm::EdDSA);
    let (client, _gone) = Client::new(&issuer);
    let pinned = TestIssuer::with(ISSUER, TestAlgorithm::EdDSA).clock(clock.clone());
    let tokens = at_url(&clock, &client)
        .public_pem(Algorithm::EdDSA, pinned.public_pem())
        .build()
        .unwrap();
    verify(&tokens, &pinned.token().sign()).await.unwrap();
    assert_eq!(client.asked(), 0);
    // Without the fetched keys, this token can't be proved invalid.
    client.then(Answer::Fails);
    let token = issuer.token().sign();
    assert_eq!(rejection(&tokens, &token).await, Reason::Unavailable);
    client.sent(2).await;
    tokio::task::yield_now().await;
    verify(&tokens, &token).await.unwrap();
    verify(&tokens, &pinned.token().sign()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_issuer_has_its_own_keys() {
    let (ours, clock, _hand) = issuer_with(TestAlgorithm::EdDSA);
    let theirs = TestIssuer::with("https://partner.example.net", TestAlgorithm::EdDSA);
    let theirs = theirs.clock(clock.clone());
    let (client, _gone) = Client::new(&ours);
    let tokens = at_url(&clock, &client)
        .and_issuer(theirs.issuer())
        .audience("orders")
        .jwks_url(Endpoint::new("https://partner.example.net/keys").unwrap())
        .build()
        .unwrap();
    verify(&tokens, &ours.token().sign()).await.unwrap();
    // Both responses contain our keys: the partner's token matches none.
    assert_eq!(
        rejection(&tokens, &theirs.token().sign()).await,
        Reason::UnknownKey
    );
    assert_eq!(client.urls(), [KEYS, "https://partner.example.net/keys"]);
    tokens.ready().await.unwrap();
    assert_eq!(tokens.key_stats().len(), 2);
}

/// The task keeps nothing alive, and a request in progress is dropped too.
#[tokio::test(start_paused = true)]
async fn the_fetch_ends_with_the_verifier() {
    let mut setup = Setup::new();
    setup.client.hold();
    let tokens = setup.tokens;
    let waiting = tokio::spawn(async move {
        let _ = tokens.ready().await;
    });
    setup.client.sent(1).await;
    assert!(setup.gone.try_recv().is_err());
    let started = tokio::time::Instant::now();
    waiting.abort();
    setup.gone.recv().await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO, "the timeout ended it");
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(setup.client.asked(), 1);
}

/// A fetch never completes in a runtime that is no longer polled.
#[test]
fn a_fetch_in_a_runtime_that_hangs_is_replaced_by_the_next() {
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap()
    };
    let setup = Setup::new();
    let token = setup.token();
    let hangs = runtime();
    setup.client.hold();
    hangs.block_on(async {
        let mut waits = std::pin::pin!(verify(&setup.tokens, &token));
        assert!(futures_util::poll!(waits.as_mut()).is_pending());
        setup.client.sent(1).await;
    });
    setup.client.release();
    // Twice the timeout of a fetch, and what a request waits longer.
    for (millis, is_replaced) in [(10_499, false), (1, false), (1, true)] {
        setup.hand.advance(Duration::from_millis(millis));
        let verified = runtime().block_on(verify(&setup.tokens, &token));
        assert_eq!(verified.is_ok(), is_replaced, "{verified:?}");
    }
    assert_eq!(setup.client.asked(), 2);
}

#[test]
fn a_runtime_that_is_gone_is_replaced_by_the_next() {
    let setup = Setup::new();
    let token = setup.token();
    let run = |work: &mut dyn FnMut(&tokio::runtime::Runtime)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        work(&runtime);
    };
    run(&mut |runtime| {
        runtime.block_on(verify(&setup.tokens, &token)).unwrap();
    });
    setup.hand.advance(Duration::from_secs(10));
    run(&mut |runtime| {
        runtime.block_on(async {
            assert!(cached(&setup.tokens, &token).unwrap().is_ok());
            setup.client.sent(2).await;
        });
    });
    // Outside of a runtime, nothing is fetched and nothing panics.
    let (issuer, clock, _hand) = issuer_with(TestAlgorithm::EdDSA);
    let (client, _gone) = Client::new(&issuer);
    let tokens = at_url(&clock, &client).build().unwrap();
    let rejected = futures_util::FutureExt::now_or_never(verify(&tokens, &issuer.token().sign()));
    assert_eq!(rejected.unwrap().unwrap_err().reason(), Reason::Unavailable);
    assert_eq!(client.asked(), 0);
}

fn discovering(clock: Clock, client: &Client) -> JwtVerifier {
    JwtVerifier::issuer(ISSUER)
        .audience("orders")
        .discover()
        .http_client(client.service())
        .clock(clock)
        .without_revocations()
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn trap_52_a_remote_issuer_causes_no_request_to_a_local_address() {
    for uri in ["http://localhost/keys", "https://169.254.169.254/keys"] {
        let (issuer, clock, _hand) = issuer_with(TestAlgorithm::EdDSA);
        let (client, _gone) = Client::new(&issuer);
        let metadata = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{uri}"}}"#);
        client.then(Answer::Is(200, &[], metadata));
        let tokens = discovering(clock, &client);
        let token = issuer.token().sign();
        assert_eq!(rejection(&tokens, &token).await, Reason::Unavailable);
        let error = tokens.ready().await.unwrap_err();
        assert!(
            matches!(
                keys_unavailable(&error).error(),
                Some(KeyFetchError::Discovery(MetadataFetchError::Unusable(
                    DiscoveryError::Local { .. }
                )))
            ),
            "{error:?}"
        );
        assert_eq!(
            client.urls(),
            [format!("{ISSUER}/.well-known/openid-configuration")]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn discovered_metadata_is_used_for_an_hour() {
    let (issuer, clock, hand) = issuer_with(TestAlgorithm::EdDSA);
    let (client, _gone) = Client::new(&issuer);
    let (at, keys) = (
        format!("{ISSUER}/.well-known/openid-configuration"),
        format!("{ISSUER}/keys"),
    );
    let metadata = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{keys}"}}"#);
    client.then(Answer::Is(200, &[], metadata.clone()));
    let tokens = discovering(clock, &client);
    tokens.ready().await.unwrap();
    assert_eq!(client.urls(), [&*at, &*keys]);
    hand.advance(Duration::from_secs(3_599));
    client.sent(3).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(client.urls()[2..], [&*keys]);
    hand.advance(Duration::from_secs(1));
    client.then(Answer::Is(200, &[], metadata));
    client.sent(5).await;
    assert_eq!(client.urls()[3..], [&*at, &*keys]);
}

/// The longest durations that the builder accepts overflow nowhere.
#[tokio::test(start_paused = true)]
async fn durations_of_a_year_do_not_overflow() {
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    for clock_runs in [Duration::ZERO, year] {
        let setup = Setup::with(|builder| {
            builder
                .key_refresh_interval(year)
                .key_refetch_interval(year)
                .key_fetch_timeout(year)
                .key_max_age(year)
        });
        setup.hand.advance(clock_runs);
        setup.client.then(Answer::Fails);
        assert!(setup.tokens.ready().await.is_err());
        setup.client.sent(2).await;
        tokio::task::yield_now().await;
        verify(&setup.tokens, &setup.token()).await.unwrap();
        setup.later(year.as_secs() / 2).await;
        assert_eq!(
            rejection(&setup.tokens, &setup.forged(1)).await,
            Reason::UnknownKey
        );
        setup.client.hold();
        let token = setup.forged(2);
        setup.hand.advance(year);
        let waiting = verify(&setup.tokens, &token);
        assert!(waiting.await.is_err());
        assert!(cached(&setup.tokens, &setup.token()).is_none());
    }
}

#[test]
fn invalid_settings_fail_the_build() {
    let (issuer, clock, _hand) = issuer_with(TestAlgorithm::EdDSA);
    let (client, _gone) = Client::new(&issuer);
    let start = || at_url(&clock, &client);
    let error = start().discover().build().unwrap_err();
    assert!(
        matches!(
            error,
            JwtVerifierError::Issuer(_, IssuerError::Contradiction(_))
        ),
        "{error}"
    );
    let error = start().secret(Algorithm::HS256, [7; 32]).build();
    assert!(matches!(
        error,
        Err(JwtVerifierError::Issuer(_, IssuerError::SecretsMixed))
    ));
    let settings = |time| {
        [
            start().key_refresh_interval(time),
            start().key_refetch_interval(time),
            start().key_fetch_timeout(time),
            start().key_max_age(time),
        ]
    };
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    for wrong in [
        Duration::ZERO,
        Duration::MAX,
        year + Duration::from_nanos(1),
    ] {
        for builder in settings(wrong) {
            let error = builder.build().unwrap_err();
            assert!(
                matches!(error, JwtVerifierError::TimeOutOfBounds { given, .. } if given == wrong),
                "{error}"
            );
        }
    }
    let without = JwtVerifier::issuer(ISSUER)
        .audience("orders")
        .discover()
        .without_revocations();
    let built = without.build();
    if cfg!(feature = "https") {
        assert!(built.is_ok(), "there is a default client");
    } else {
        assert!(matches!(
            built.unwrap_err(),
            JwtVerifierError::Issuer(_, IssuerError::MissingHttpClient)
        ));
    }
    for issuer in ["http://id.example.com", "https://id.example.com?a", "id"] {
        let error = JwtVerifier::issuer(issuer)
            .audience("orders")
            .discover()
            .http_client(client.service())
            .without_revocations()
            .build()
            .unwrap_err();
        assert!(
            matches!(
                error,
                JwtVerifierError::Issuer(_, IssuerError::Discovery(_))
            ),
            "{issuer}"
        );
    }
}
