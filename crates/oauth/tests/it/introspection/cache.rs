//! For how long an answer is used, and by whom.

use super::*;

#[tokio::test]
async fn rfc7662_4_an_answer_is_used_for_max_staleness_and_never_past_exp() {
    let server = Server::says(with("exp", NOW - 27));
    let (tokens, hand) = server.verifier();
    assert!(verdict(&tokens, "t").await.is_ok());
    hand.advance(Duration::from_secs(2));
    assert!(verdict(&tokens, "t").await.is_ok());
    assert_eq!(server.asked(), 1);
    // Past `exp` and the leeway.
    hand.advance(Duration::from_secs(1));
    assert_eq!(verdict(&tokens, "t").await, Err(Reason::Expired));
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_token_that_became_inactive_is_refused_within_the_bound() {
    let server = Server::says(active());
    let (tokens, hand) = server.verifier();
    assert!(verdict(&tokens, "t").await.is_ok());
    server.now_responds(|_| answer(200, &[], r#"{"active":false}"#));
    hand.advance(Duration::from_millis(4_999));
    assert!(verdict(&tokens, "t").await.is_ok());
    hand.advance(Duration::from_millis(1));
    for _ in 0..3 {
        assert_eq!(verdict(&tokens, "t").await, Err(Reason::Inactive));
    }
    assert_eq!(server.asked(), 2);
    // That it is no good is forgotten as soon.
    server.now_responds(|_| answer(200, &[], active().to_string()));
    hand.advance(Duration::from_secs(5));
    assert!(verdict(&tokens, "t").await.is_ok());
}

#[tokio::test]
async fn the_age_of_an_answer_counts_from_before_the_server_was_asked() {
    let server = Server::says(active());
    let (tokens, hand) = server.verifier();
    server.gate.forget_permits(Semaphore::MAX_PERMITS);
    let asking = verdict(&tokens, "t");
    tokio::pin!(asking);
    assert!(futures_util::poll!(&mut asking).is_pending());
    hand.advance(Duration::from_secs(4));
    server.gate.add_permits(10);
    assert!(asking.await.is_ok());
    hand.advance(Duration::from_secs(1));
    assert!(verdict(&tokens, "t").await.is_ok());
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_tokens_evicts_no_good_one_and_is_held_back() {
    let server = Server::new(|token| match token {
        "good" | "another" => answer(200, &[], active().to_string()),
        _ => answer(200, &[], r#"{"active":false}"#),
    });
    let (tokens, hand) = server.verifier();
    assert!(verdict(&tokens, "good").await.is_ok());
    let mut verdicts = [0, 0];
    for number in 0..100_000 {
        match verdict(&tokens, &format!("garbage{number}")).await {
            Err(Reason::Inactive) => verdicts[0] += 1,
            Err(Reason::Unavailable) => verdicts[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    // The good token was one of the 100 of this second.
    assert_eq!(verdicts, [99, 99_901]);
    assert_eq!(server.asked(), 100);
    assert!(verdict(&tokens, "good").await.is_ok());
    assert_eq!(server.asked(), 100);
    // A new good token is held back with them, one that is known is not.
    assert_eq!(verdict(&tokens, "another").await, Err(Reason::Unavailable));
    hand.advance(Duration::from_secs(5));
    for number in 0..200 {
        let _ = verdict(&tokens, &format!("more{number}")).await;
    }
    assert_eq!(server.asked(), 200);
    assert!(verdict(&tokens, "good").await.is_ok());
    assert_eq!(server.asked(), 201);
}

/// However few tokens are cached, and however often the server may be asked.
#[tokio::test]
async fn rejected_tokens_have_a_table_of_their_own() {
    let server = Server::new(|token| match token {
        "good" => answer(200, &[], active().to_string()),
        _ => answer(200, &[], r#"{"active":false}"#),
    });
    let (clock, _hand) = Clock::manual(UnixTime::from_secs(NOW));
    let builder = server.builder().client_credentials("shop", SECRET);
    let builder = builder
        .audience("orders")
        .without_revocations()
        .clock(clock);
    let builder = builder.cache_capacity(8).rejected_capacity(8);
    let tokens = builder.unknown_tokens_per_second(u32::MAX).build();
    let tokens = tokens.expect("a verifier");
    assert!(verdict(&tokens, "good").await.is_ok());
    for number in 0..100_000 {
        let verdict = verdict(&tokens, &format!("garbage{number}")).await;
        assert_eq!(verdict, Err(Reason::Inactive));
        server.requests.lock().expect("a lock").clear();
    }
    assert!(verdict(&tokens, "good").await.is_ok());
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn callers_with_one_token_share_a_request_whoever_leaves() {
    let server = Server::says(active());
    let (tokens, _hand) = server.verifier();
    server.gate.forget_permits(Semaphore::MAX_PERMITS);
    let mut first = Box::pin(verdict(&tokens, "t"));
    assert!(futures_util::poll!(&mut first).is_pending());
    let others = join_all((0..50).map(|_| verdict(&tokens, "t")));
    tokio::pin!(others);
    assert!(futures_util::poll!(&mut others).is_pending());
    drop(first);
    server.gate.add_permits(1);
    assert!(others.await.iter().all(Result::is_ok));
    assert_eq!(server.asked(), 1);
}

/// What the server read may be as old as the request.
#[tokio::test]
async fn nobody_joins_a_request_that_is_older_than_an_answer_may_be() {
    let server = Server::says(active());
    let (tokens, hand) = server.verifier();
    server.gate.forget_permits(Semaphore::MAX_PERMITS);
    let mut first = Box::pin(verdict(&tokens, "t"));
    assert!(futures_util::poll!(&mut first).is_pending());
    hand.advance(Duration::from_millis(4_999));
    let mut second = Box::pin(verdict(&tokens, "t"));
    assert!(futures_util::poll!(&mut second).is_pending());
    assert_eq!(server.asked(), 1);
    hand.advance(Duration::from_millis(1));
    let mut third = Box::pin(verdict(&tokens, "t"));
    assert!(futures_util::poll!(&mut third).is_pending());
    assert_eq!(server.asked(), 2);
    server.gate.add_permits(2);
    assert!(first.await.is_ok() && second.await.is_ok());
    server.now_responds(|_| answer(200, &[], r#"{"active":false}"#));
    assert_eq!(third.await, Err(Reason::Inactive));
    assert_eq!(verdict(&tokens, "t").await, Err(Reason::Inactive));
    assert_eq!(server.asked(), 2);
}
