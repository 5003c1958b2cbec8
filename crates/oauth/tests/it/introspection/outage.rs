//! A server that fails, is slow, or wants to be left alone.

use axum::body::Body;
use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_is_a_503_for_known_tokens_too() {
    type Named = (&'static str, fn(&str) -> Response<Bytes>);
    let responses: [Named; 7] = [
        ("500", |_| status(500)),
        ("401", |_| status(401)),
        ("400", |_| {
            answer(400, &[], r#"{"error":"invalid_request"}"#)
        }),
        ("404", |_| status(404)),
        ("302", |_| status(302)),
        ("503", |_| status(503)),
        ("429", |_| status(429)),
    ];
    for (name, respond) in responses {
        let server = Server::says(active());
        let (tokens, hand) = server.verifier();
        assert!(verdict(&tokens, "known").await.is_ok());
        server.now_responds(respond);
        hand.advance(Duration::from_secs(5));
        for token in ["known", "new"] {
            assert_eq!(
                verdict(&tokens, token).await,
                Err(Reason::Unavailable),
                "{name}"
            );
        }
        server.now_responds(|_| answer(200, &[], active().to_string()));
        assert!(verdict(&tokens, "known").await.is_ok(), "{name}");
    }
}

/// Of 100 MB with a good answer in front, little more than 64 KiB is read.
#[tokio::test]
async fn an_answer_of_100_mb_is_a_503_and_most_of_it_is_not_read() {
    const PIECE: usize = 16 * 1024;
    let read = Arc::new(AtomicUsize::new(0));
    let counted = read.clone();
    let client = service_fn(move |_: Request<Full<Bytes>>| {
        let (read, mut piece) = (counted.clone(), active().to_string());
        piece.extend(std::iter::repeat_n(' ', PIECE - piece.len()));
        let rest = std::iter::repeat_n(" ".repeat(PIECE), 100_000_000 / PIECE);
        let pieces = std::iter::once(piece).chain(rest).map(move |piece| {
            read.fetch_add(1, Ordering::Relaxed);
            Ok::<_, BoxError>(Bytes::from(piece))
        });
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        std::future::ready(Ok::<_, BoxError>(Response::new(body)))
    });
    let (clock, _hand) = Clock::manual(UnixTime::from_secs(NOW));
    let server = Server::says(active());
    let builder = server.builder().http_client(client).clock(clock);
    let builder = builder.client_credentials("shop", SECRET);
    let tokens = builder.audience("orders").without_revocations().build();
    let found = verdict(&tokens.expect("a verifier"), "t").await;
    assert_eq!(found, Err(Reason::Unavailable));
    assert_eq!(read.load(Ordering::Relaxed), 64 * 1024 / PIECE + 1);
}

#[tokio::test]
async fn rfc9110_10_2_3_a_server_that_asks_for_it_is_left_alone() {
    let server = Server::new(|_| answer(503, &[("retry-after", "7")], ""));
    let (tokens, hand) = server.verifier();
    for _ in 0..3 {
        assert_eq!(verdict(&tokens, "t").await, Err(Reason::Unavailable));
    }
    assert_eq!(server.asked(), 1);
    server.now_responds(|_| answer(200, &[], active().to_string()));
    hand.advance(Duration::from_secs(7));
    assert!(verdict(&tokens, "t").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_has_so_many_requests_under_way_and_no_more() {
    let server = Server::says(active());
    let (clock, hand) = Clock::manual(UnixTime::from_secs(NOW));
    let builder = server.builder().client_credentials("shop", SECRET);
    let builder = builder
        .audience("orders")
        .without_revocations()
        .clock(clock);
    let tokens = builder.max_concurrency(8).build().expect("a verifier");
    assert!(verdict(&tokens, "known").await.is_ok());
    hand.advance(Duration::from_secs(5));
    server.gate.forget_permits(Semaphore::MAX_PERMITS);
    let started = Instant::now();
    let names: Vec<String> = (0..50).map(|number| format!("new{number}")).collect();
    let flood = join_all(names.iter().map(|name| verdict(&tokens, name)));
    let known = async {
        tokio::task::yield_now().await;
        let known = verdict(&tokens, "known");
        tokio::pin!(known);
        // It has a slot, behind the flood.
        assert!(known.as_mut().now_or_never().is_none());
        assert_eq!(server.under_way.load(Ordering::Relaxed), 5);
        known.await
    };
    let (flood, known) = tokio::join!(flood, known);
    assert!(
        flood
            .iter()
            .all(|verdict| *verdict == Err(Reason::Unavailable))
    );
    assert_eq!(known, Err(Reason::Unavailable));
    // The request timeout. Tokio's timer rounds up to a millisecond.
    assert_eq!(started.elapsed().as_secs(), 2);
    assert_eq!(server.most_under_way.load(Ordering::Relaxed), 5);
    assert_eq!(server.under_way.load(Ordering::Relaxed), 0);
}
