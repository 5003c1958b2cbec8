//! Measures 100,000 live streams: what each takes, and whom a rule wakes. In a process of its own,
//! whose memory is nobody else's.

#![allow(clippy::print_stdout, reason = "it measures")]

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Empty;
use serde_json::json;
use tower::{Layer, Service, service_fn};
use tower_revoke_core::{
    Authenticated, Claims, Revocation, RevocationKey, Revocations, TokenId, UnixTime, VerifiedToken,
};
use tower_revoke_list::RevocationList;
use tower_revoke_streams::TokenLifetimeLayer;

const STREAMS: usize = 100_000;
const OF_EACH_CLIENT: usize = 1_000;
const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

/// Yields one frame, and then nothing.
struct Quiet(bool);

impl Body for Quiet {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match std::mem::replace(&mut self.0, true) {
            true => Poll::Pending,
            false => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"a"))))),
        }
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("a number");
    pages * 4_096
}

/// A token with a subject and a session of its own, and the client that it shares with 999 others.
fn token(number: usize, list: &Arc<dyn Revocations>) -> Arc<VerifiedToken> {
    let claims = json!({
        "iss": "https://id.example.com", "sub": format!("subject {number}"),
        "sid": format!("session {number}"),
        "client_id": format!("client {}", number / OF_EACH_CLIENT),
        "iat": NOW, "exp": 4_000_000_000_u64 + number as u64,
    });
    let claims = Claims::from_value(claims).expect("claims");
    let id = TokenId::of_jwt("https://id.example.com", &number.to_string());
    let token = VerifiedToken::new(id, claims, std::time::Duration::from_secs(30));
    Arc::new(token.with_revocations(list.clone()).expect("no limit"))
}

#[tokio::test]
async fn each_of_100_000_streams_takes_at_most_400_bytes_and_a_rule_wakes_its_own() {
    let list = RevocationList::in_memory();
    let revocations: Arc<dyn Revocations> = list.clone().into();
    let handler = service_fn(async |_: Request<Empty<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Quiet(false)))
    });
    let mut service = TokenLifetimeLayer::new().layer(handler);
    let wakes = Arc::<Wakes>::default();
    let waker = Waker::from(wakes.clone());
    let mut cx = Context::from_waker(&waker);
    let mut open = async |number| {
        let mut request = Request::new(Empty::new());
        let caller = Authenticated::new(token(number, &revocations));
        request.extensions_mut().insert(caller);
        service.call(request).await.expect("infallible").into_body()
    };
    let first = open(STREAMS).await;
    let own = size_of::<Quiet>().next_multiple_of(8);
    let mut bodies = Vec::with_capacity(STREAMS);
    let before = resident();
    for number in 0..STREAMS {
        let mut body = open(number).await;
        let polled = Pin::new(&mut body).poll_frame(&mut cx);
        assert!(polled.is_ready());
        bodies.push(body);
        let polled = bodies
            .last_mut()
            .map(|body| Pin::new(body).poll_frame(&mut cx));
        assert!(polled.is_some_and(|polled| polled.is_pending()));
    }
    let each = (resident() - before) / STREAMS - own;
    drop(first);
    println!("{each} bytes for each of {STREAMS} streams beyond the body's own {own}");
    assert!(each <= 400, "{each} bytes");
    assert_eq!(list.stats().watches, STREAMS as u64);

    let rule = |key| Revocation::rule(key, NOW).expect("a rule");
    let issuer = "https://id.example.com";
    list.revoke(rule(RevocationKey::client(issuer, "client of nobody")))
        .await
        .expect("revoked");
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);

    list.revoke(rule(RevocationKey::client(issuer, "client 7")))
        .await
        .expect("revoked");
    let woken = wakes.0.load(Ordering::SeqCst);
    println!("a rule that ends {OF_EACH_CLIENT} of them woke {woken}");
    assert_eq!(woken, OF_EACH_CLIENT);
    let ended = bodies
        .iter_mut()
        .filter_map(|body| match Pin::new(body).poll_frame(&mut cx) {
            Poll::Ready(Some(Err(_))) => Some(()),
            _ => None,
        });
    assert_eq!(ended.count(), OF_EACH_CLIENT);

    let begun = tokio::time::Instant::now();
    list.revoke(rule(RevocationKey::issuer(issuer)))
        .await
        .expect("revoked");
    println!(
        "a rule over all of them woke them within {:?}",
        begun.elapsed()
    );
    assert_eq!(wakes.0.load(Ordering::SeqCst), STREAMS);
    drop(bodies);
    assert_eq!(list.stats().watches, 0);
}
