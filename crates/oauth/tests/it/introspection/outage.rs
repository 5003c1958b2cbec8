//! A server that fails, is slow, or wants to be left alone.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_is_a_503_for_known_tokens_too() {
    let huge = || answer(200, &[], vec![b' '; 100_000_000]);
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
    let server = Server::new(move |_| huge());
    assert_eq!(
        verdict(&server.verifier().0, "t").await,
        Err(Reason::Unavailable)
    );
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
    assert_eq!(server.most_under_way.load(Ordering::Relaxed), 5);
    assert_eq!(server.under_way.load(Ordering::Relaxed), 0);
}
