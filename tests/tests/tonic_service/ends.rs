//! Tests how calls end: outcomes come from the trailers, a server error returns the use before the
//! response starts, and a client that leaves has spent.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_service::proto::{Line, orders_client::OrdersClient};

use crate::kit::{
    Example, Kind, Outcome, call, channel, count, line, python, step, watch, with_token,
};

/// Returns the counts of the five outcomes of a client's calls, once all of them have ended.
async fn counts(example: &Example, client: &str, calls: u64) -> Value {
    let outcome = |counts: &Value, name: &str| counts["clients"][client][name].clone();
    let names = ["success", "failure", "exception", "cancelled", "rejected"];
    let counts = example
        .counts(|counts| {
            let ended = names.map(|name| outcome(counts, name).as_u64().unwrap_or_default());
            ended.iter().sum::<u64>() == calls
        })
        .await;
    assert_eq!(outcome(&counts, "in_flight"), 0);
    names
        .map(|name| outcome(&counts, name))
        .into_iter()
        .collect()
}

#[tokio::test]
async fn grpc_the_outcome_is_taken_from_the_trailers() {
    let mut example = Example::start().await;
    let mut orders = OrdersClient::new(channel(example.at).await);
    for (subject, article, expected, outcomes) in [
        ("good", "tea", Code::Ok, json!([3, 0, 0, 0, 0])),
        ("wrong", "cocoa", Code::NotFound, json!([0, 3, 0, 0, 0])),
        (
            "unlucky",
            "saffron",
            Code::Unavailable,
            json!([0, 0, 3, 0, 0]),
        ),
    ] {
        let query = format!("scope=orders&subject={subject}");
        let lines = || stream::iter([line("tea", 1), line(article, 1)]);

        let token = example.token_with(&query).await;
        let placed = orders
            .place(with_token(line(article, 1), Some(&token)))
            .await;
        assert_eq!(code(placed), expected);

        let token = example.token_with(&query).await;
        let imported = orders.import(with_token(lines(), Some(&token))).await;
        assert_eq!(code(imported), expected);

        // Here the head and a price have long been sent.
        let token = example.token_with(&query).await;
        let quotes = orders.quote(with_token(lines(), Some(&token))).await;
        let mut quotes = quotes.expect("a head").into_inner();
        let first = quotes.message().await.expect("no error yet");
        assert_eq!(first.expect("a price").cents, 450);
        assert_eq!(code(count(quotes).await), expected);

        assert_eq!(counts(&example, subject, 3).await, outcomes, "{subject}");
    }
}

fn code<T>(result: Result<T, Status>) -> Code {
    result.map_or_else(|status| status.code(), |_| Code::Ok)
}

fn is_late(code: Code) -> bool {
    matches!(code, Code::Cancelled | Code::DeadlineExceeded)
}

/// The example's outcome rule, and its limits.
#[tokio::test]
async fn grpc_only_a_trailers_only_response_returns_a_use() {
    let mut example = Example::start().await;
    let channel = channel(example.at).await;
    let mut orders = OrdersClient::new(channel.clone());
    for (article, lives) in [("saffron", true), ("cocoa", false)] {
        let token = example.token().await;
        let placed = orders
            .place(with_token(line(article, 1), Some(&token)))
            .await;
        assert!(placed.is_err());
        let again = call(&channel, Kind::Place, Some(&token)).await;
        let expected = match lives {
            true => Outcome::good(Kind::Place),
            false => Outcome::spent(),
        };
        assert_eq!(again, expected, "{article}");
    }

    // The head was sent before the error.
    let token = example.token().await;
    let saffron = stream::iter([line("saffron", 1)]);
    let quotes = orders.quote(with_token(saffron, Some(&token))).await;
    let broken = count(quotes.expect("a head").into_inner()).await;
    assert_eq!(broken.expect_err("trouble").code(), Code::Unavailable);
    let again = call(&channel, Kind::Quote, Some(&token)).await;
    assert_eq!(again, Outcome::spent());
}

#[tokio::test]
async fn trap_27_grpc_a_client_that_leaves_a_stream_has_spent() {
    let mut example = Example::start().await;
    let channel = channel(example.at).await;
    let mut orders = OrdersClient::new(channel.clone());

    let token = example.token_with("scope=orders&subject=tonic").await;
    let prices = orders.watch(with_token(watch(0), Some(&token))).await;
    let mut prices = prices.expect("a head").into_inner();
    for _ in 0..2 {
        assert!(prices.message().await.expect("no error").is_some());
    }
    drop(prices);
    assert_eq!(counts(&example, "tonic", 1).await, json!([0, 0, 0, 1, 0]));
    let again = call(&channel, Kind::Watch, Some(&token)).await;
    assert_eq!(again, Outcome::spent());

    let token = example.token_with("scope=orders&subject=grpcio").await;
    let mut left = step(Kind::Watch, Some(&token));
    left["endless"] = true.into();
    left["cancel_after"] = 2.into();
    let outcomes = python(
        example.at,
        vec![left, step(Kind::Watch, Some(&token))],
        false,
    )
    .await;
    assert_eq!(
        (outcomes[0].code, outcomes[0].answers),
        (Code::Cancelled, 2)
    );
    assert_eq!(outcomes[1], Outcome::spent());
    // A rejected caller is not authenticated, so the rejection counts as anonymous.
    assert_eq!(counts(&example, "grpcio", 1).await, json!([0, 0, 0, 1, 0]));
}

/// `grpc-timeout`: the server gives up as well, before the head and after it.
#[tokio::test]
async fn trap_28_grpc_a_deadline_that_passes_has_spent() {
    const DEADLINE: Duration = Duration::from_secs(1);
    let mut example = Example::start().await;
    let channel = channel(example.at).await;
    let mut orders = OrdersClient::new(channel.clone());
    // Fetching the issuer's keys for the first token must not be what takes the time.
    let first = example.token().await;
    call(&channel, Kind::Place, Some(&first)).await;

    let token = example.token_with("scope=orders&subject=tonic").await;
    let endless = stream::iter([line("tea", 1)]).chain(stream::pending::<Line>());
    let mut request = with_token(endless, Some(&token));
    request.set_timeout(DEADLINE);
    let late = orders.import(request).await.expect_err("no answer");
    assert!(is_late(late.code()), "{late:?}");
    assert_eq!(counts(&example, "tonic", 1).await, json!([0, 0, 0, 1, 0]));
    let again = call(&channel, Kind::Import, Some(&token)).await;
    assert_eq!(again, Outcome::spent());

    for kind in [Kind::Import, Kind::Watch] {
        let subject = format!("grpcio{kind:?}");
        let query = format!("scope=orders&subject={subject}");
        let token = example.token_with(&query).await;
        let mut late = step(kind, Some(&token));
        late["endless"] = true.into();
        late["deadline"] = DEADLINE.as_secs_f64().into();
        let outcomes = python(example.at, vec![late, step(kind, Some(&token))], false).await;
        // tonic's server responds CANCELLED if it notices first.
        let late = outcomes[0].code;
        assert!(is_late(late), "{kind:?} {late:?}");
        assert_eq!(outcomes[1], Outcome::spent(), "{kind:?}");
        let counts = counts(&example, &subject, 1).await;
        assert_eq!(counts, json!([0, 0, 0, 1, 0]), "{kind:?}");
    }
}
