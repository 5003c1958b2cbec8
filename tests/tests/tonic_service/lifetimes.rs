//! Streams end with their token: status 16 after a whole message. All of these tokens are spent, which
//! ends no stream.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_service::proto::{Price, orders_client::OrdersClient};
use tower_revoke::{Revocation, RevocationKey, TokenId, core::Clock};
use tower_revoke_tests::servers::grpc_js;

use crate::kit::{Inside, Kind, Outcome, channel, line, outcomes, python, step, watch, with_token};

/// How many bodies of a watched, a quoted and an imported stream end with their token: the responses of
/// the first two, and the requests of the last two.
const WATCHES: u64 = 4;

/// How long an expired token is accepted, in seconds.
const LEEWAY: u64 = 30;

const JAVASCRIPT: &str = include_str!("streams.js");

impl Inside {
    async fn revokes_all_of_ann(&self) {
        let ann = RevocationKey::subject(self.issuer.url(), "ann");
        let rule = Revocation::all_of(ann).expect("a rule");
        self.list.revoke(rule).await.expect("revoked");
    }

    async fn watches(&self, streams: u64) {
        while self.list.stats().watches < streams {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn is_revoked(status: &Status) {
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "the token was revoked");
}

/// Reads a stream to the status that ends it.
async fn status(mut prices: Streaming<Price>) -> Status {
    loop {
        match prices.message().await {
            Ok(price) => assert!(price.is_some(), "the stream ended without a status"),
            Err(status) => return status,
        }
    }
}

fn all_end(outcomes: &[Outcome]) {
    let [watch, quote, import] = outcomes else {
        panic!("{outcomes:?}");
    };
    for outcome in [watch, quote, import] {
        assert_eq!(outcome.code, Code::Unauthenticated);
        assert_eq!(outcome.details, "the token was revoked");
    }
    // A stream is watched from its head on, and may be cut before the first price; that those under way
    // end too is shown with tonic.
    assert!(quote.answers <= 1);
    assert_eq!(import.answers, 0);
}

/// Opens a stream of each kind with tonic, waits until all of them are under way, and then for their
/// end. There are `others` watches besides.
async fn ended(
    inside: &Inside,
    others: u64,
    tokens: [String; 3],
    end: impl Future<Output = ()>,
) -> [Status; 3] {
    let mut orders = OrdersClient::new(channel(inside.at).await);
    let [one, two, three] = tokens;
    let server = orders.watch(with_token(watch(0), Some(&one))).await;
    let lines = || stream::iter([line("tea", 1)]).chain(stream::pending());
    let both = orders.quote(with_token(lines(), Some(&two))).await;
    let mut server = server.expect("a head").into_inner();
    let mut both = both.expect("a head").into_inner();
    for stream in [&mut server, &mut both] {
        assert!(stream.message().await.expect("no error").is_some());
    }
    let import = with_token(lines(), Some(&three));
    let import = async { orders.import(import).await };
    let ends = async {
        inside.watches(others + WATCHES).await;
        end.await;
    };
    let (imported, ()) = tokio::join!(import, ends);
    let imported = imported.expect_err("the token has ended");
    [status(server).await, status(both).await, imported]
}

#[tokio::test]
async fn grpc_streams_of_tonic_end_with_their_token() {
    let inside = Inside::start().await;
    let url = inside.issuer.url();
    let token = |subject: &str, n: usize| {
        let token = inside.issuer.token().subject(subject);
        let token = token.jwt_id(&format!("{n} of {subject}"));
        let token = token.claim("client_id", format!("client of {subject}"));
        let token = token.claim("sid", format!("session of {subject}"));
        token.audience("orders").scope("orders")
    };
    let (send, receive) = mpsc::channel(1);
    let mut orders = OrdersClient::new(channel(inside.at).await);
    let bobs = token("bob", 0).sign();
    let bobs = orders.quote(with_token(ReceiverStream::new(receive), Some(&bobs)));
    let mut bobs = bobs.await.expect("a head").into_inner();
    let others = 2;

    let rule = |key| vec![Revocation::all_of(key).expect("a rule")];
    let ids = [0, 1, 2].map(|n| TokenId::of_jwt(url, &format!("{n} of a")));
    for (subject, revocations) in [
        ("a", ids.map(|id| Revocation::of_token(id, None)).to_vec()),
        ("b", rule(RevocationKey::subject(url, "b"))),
        ("c", rule(RevocationKey::client(url, "client of c"))),
        ("d", rule(RevocationKey::session(url, "session of d"))),
    ] {
        while inside.list.stats().watches > others {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let tokens = [0, 1, 2].map(|n| token(subject, n).sign());
        let revoke = async {
            for revocation in revocations {
                inside.list.revoke(revocation).await.expect("revoked");
            }
        };
        for status in &ended(&inside, others, tokens, revoke).await {
            is_revoked(status);
        }
        send.send(line("tea", 1)).await.expect("open");
        assert!(bobs.message().await.expect("no error").is_some());
    }

    while inside.list.stats().watches > others {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Expired, but for the leeway.
    let exp = Clock::system().now().as_secs() - LEEWAY + 5;
    let tokens = [0, 1, 2].map(|n| token("e", n).claim("exp", exp).sign());
    for status in ended(&inside, others, tokens, async {}).await {
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(status.message(), "the token has expired");
    }
    let issuer = Revocation::all_of(RevocationKey::issuer(url)).expect("a rule");
    send.send(line("tea", 1)).await.expect("open");
    assert!(bobs.message().await.expect("no error").is_some());
    inside.list.revoke(issuer).await.expect("revoked");
    is_revoked(&status(bobs).await);
}

#[tokio::test]
async fn grpc_streams_of_grpcio_end_with_their_token() {
    let inside = Inside::start().await;
    let endless = |kind| {
        let mut step = step(kind, Some(&inside.token()));
        step["endless"] = true.into();
        step
    };
    let steps = [Kind::Watch, Kind::Quote, Kind::Import].map(endless);
    let revokes = async {
        inside.watches(WATCHES).await;
        inside.revokes_all_of_ann().await;
    };
    let (outcomes, ()) = tokio::join!(python(inside.at, steps.to_vec(), true), revokes);
    all_end(&outcomes);
}

#[tokio::test]
async fn grpc_streams_of_grpc_js_end_with_their_token() {
    let inside = Inside::start().await;
    let open = |kind| step(kind, Some(&inside.token()));
    let steps = [Kind::Watch, Kind::Quote, Kind::Import].map(open);
    let job = json!({ "at": inside.at.to_string(), "steps": steps });
    let revokes = async {
        inside.watches(WATCHES).await;
        inside.revokes_all_of_ann().await;
    };
    let (done, ()) = tokio::join!(grpc_js(JAVASCRIPT, &job), revokes);
    all_end(&outcomes(&done));
}
