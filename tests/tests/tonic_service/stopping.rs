//! Tests SIGTERM with a use in flight: the use ends as spent or returned, never undecided.

use std::{process::Command, time::Duration};

use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Code;
use tonic_service::proto::{Line, orders_client::OrdersClient};
use tower_revoke_testing::{Behavior, StoreOp};
use tower_revoke_tests::program::Program;

use crate::kit::{Example, Inside, Kind, Outcome, call, channel, line, watch, with_token};

type Lines = UnboundedReceiverStream<Line>;

/// A stream of requests that the test feeds.
fn fed() -> (mpsc::UnboundedSender<Line>, Lines) {
    let (feed, lines) = mpsc::unbounded_channel();
    (feed, UnboundedReceiverStream::new(lines))
}

async fn stopped(mut program: Program) -> String {
    let said = program.says("stopped: ").await;
    let status = program.ended().await;
    assert_eq!(status.code(), Some(0));
    said
}

#[tokio::test]
async fn open_streams_are_served_to_their_end() {
    let mut example = Example::start().await;
    let mut orders = OrdersClient::new(channel(example.at).await);

    let (to_quote, lines) = fed();
    let token = example.token().await;
    let quotes = orders.quote(with_token(lines, Some(&token))).await;
    let mut quotes = quotes.expect("a head").into_inner();
    to_quote.send(line("tea", 1)).expect("it is open");
    assert!(quotes.message().await.expect("no error").is_some());

    // Its response has not started, so its use may still be returned.
    let (to_import, lines) = fed();
    let token = example.token().await;
    let mut other = orders.clone();
    let import = tokio::spawn(async move { other.import(with_token(lines, Some(&token))).await });
    to_import.send(line("tea", 1)).expect("it is open");
    example
        .counts(|counts| counts["total"]["in_flight"] == 2)
        .await;

    example.program.terminate();
    example.rejects_connections().await;

    to_quote.send(line("coffee", 1)).expect("it is open");
    let price = quotes.message().await.expect("no error");
    assert_eq!(price.expect("a price").cents, 780);
    drop(to_quote);
    assert!(quotes.message().await.expect("no error").is_none());
    to_import.send(line("coffee", 2)).expect("it is open");
    drop(to_import);
    let order = import
        .await
        .expect("no panic")
        .expect("an order")
        .into_inner();
    assert_eq!((order.lines, order.cents), (2, 2_010));
    assert_eq!(stopped(example.program).await, "nothing is owed");
}

#[tokio::test]
async fn a_stream_without_an_end_is_cut_off() {
    let mut example = Example::start().await;
    let mut orders = OrdersClient::new(channel(example.at).await);
    let token = example.token().await;
    let prices = orders.watch(with_token(watch(0), Some(&token))).await;
    let mut prices = prices.expect("a head").into_inner();
    assert!(prices.message().await.expect("no error").is_some());
    example.program.terminate();
    // The client reads on while there is anything.
    while let Ok(Some(_)) = prices.message().await {}
    assert_eq!(stopped(example.program).await, "nothing is owed");
}

/// Checks what the store knows afterwards, through a program that is restarted over the same store.
#[tokio::test]
async fn a_use_in_flight_ends_as_spent_or_returned() {
    let inside = Inside::start().await;
    let orders = OrdersClient::new(channel(inside.at).await);
    let mut open = Vec::new();
    for (last, code) in [
        ("tea", Code::Ok),
        ("cocoa", Code::NotFound),
        ("saffron", Code::Unavailable),
        ("left", Code::Ok),
        ("saffron", Code::Unavailable),
    ] {
        let (feed, lines) = fed();
        let token = inside.token();
        let request = with_token(lines, Some(&token));
        let mut orders = orders.clone();
        let import = tokio::spawn(async move { orders.import(request).await });
        open.push((feed, token, import, last, code));
    }
    inside.store.called(StoreOp::TakeUse, 5).await;
    let slow = Behavior::Slow(Duration::from_millis(500));
    inside.store.set(StoreOp::ReturnUse, slow);
    let (impatient_feed, impatient, impatient_import, ..) = open.pop().expect("the last one");
    // One client leaves before the outcome is known.
    let (_, left, import, ..) = open.pop().expect("one more");
    import.abort();

    let stopping = inside.stop();
    let mut tokens = vec![("left", left)];
    for (feed, token, import, last, code) in open {
        feed.send(line(last, 1)).expect("it is open");
        drop(feed);
        let answer = import.await.expect("no panic");
        let said = answer.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(said, code, "{last}");
        tokens.push((last, token));
    }
    // One client leaves while the use is being returned: the program waits for that.
    let saffron = line("saffron", 1);
    impatient_feed.send(saffron).expect("it is open");
    stopping.store.called(StoreOp::ReturnUse, 2).await;
    impatient_import.abort();
    tokens.push(("saffron", impatient));

    let (stopped, inside) = stopping.restart().await;
    assert_eq!(stopped.owed, 0);
    assert_eq!(inside.store.calls(StoreOp::ReturnUse), 2);
    let channel = channel(inside.at).await;
    for (last, token) in tokens {
        let expected = match last {
            "saffron" => Outcome::good(Kind::Place),
            _ => Outcome::spent(),
        };
        let again = call(&channel, Kind::Place, Some(&token)).await;
        assert_eq!(again, expected, "{last}");
    }
}

/// A call that outlasts the grace period is cut off; its use was taken, and stays spent.
#[tokio::test]
async fn a_call_that_is_cut_off_has_spent() {
    let inside = Inside::start().await;
    let mut orders = OrdersClient::new(channel(inside.at).await);
    let (feed, lines) = fed();
    let token = inside.token();
    let request = with_token(lines, Some(&token));
    let import = tokio::spawn(async move { orders.import(request).await });
    inside.store.called(StoreOp::TakeUse, 1).await;
    let (stopped, inside) = inside.stop().restart().await;
    assert_eq!(stopped.owed, 1);
    assert_eq!(inside.store.calls(StoreOp::ReturnUse), 0);
    let channel = channel(inside.at).await;
    let again = call(&channel, Kind::Place, Some(&token)).await;
    assert_eq!(again, Outcome::spent());
    drop(feed);
    import.abort();
}

#[tokio::test]
async fn an_unknown_argument_is_an_error_that_names_it() {
    let mut program = Program::start("tonic-service", |command: &mut Command| {
        command.arg("serve");
    });
    let said = program.says("unknown argument ").await;
    assert!(said.starts_with("`serve`"), "{said}");
    assert_eq!(program.ended().await.code(), Some(2));
}
