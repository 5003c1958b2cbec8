//! Tests fetched keys with a scripted HTTP client and a manual clock.

mod discovery;
mod empty_sets;
mod refresh;
mod settings;
mod task;
mod unknown_keys;
mod waiting;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use tokio::sync::{Notify, Semaphore, mpsc};
use tower::service_fn;
use tower_revoke_core::{BoxError, Clock, Endpoint, HttpClient, ManualClock};
use tower_revoke_jwt::{JwtVerifier, JwtVerifierBuilder};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

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

/// Key sets without a usable key: empty, not for signatures, and malformed.
const WITHOUT_KEYS: [&str; 3] = [
    r#"{"keys":[]}"#,
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","use":"enc","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    r#"{"keys":["no key"]}"#,
];

fn empty(keys: &str) -> Answer {
    Answer::Is(200, &[], keys.to_owned())
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
