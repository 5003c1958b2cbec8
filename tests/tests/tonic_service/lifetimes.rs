//! Streams end with their token: status 16 after a whole message. All of these tokens are spent, which
//! ends no stream.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::json;
use tonic::{Code, Status, Streaming};
use tonic_service::proto::{Price, orders_client::OrdersClient};
use tower_revoke::{Revocation, RevocationKey};
use tower_revoke_tests::servers::grpc_js;

use crate::kit::{Inside, Kind, Outcome, channel, line, outcomes, python, step, watch, with_token};

/// How many bodies of a watched, a quoted and an imported stream end with their token: the responses of
/// the first two, and the requests of the last two.
const WATCHES: u64 = 4;

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

async fn ends(mut prices: Streaming<Price>) {
    is_revoked(&loop {
        match prices.message().await {
            Ok(price) => assert!(price.is_some(), "the stream ended without a status"),
            Err(status) => break status,
        }
    });
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

#[tokio::test]
async fn grpc_streams_of_tonic_end_with_their_token() {
    let inside = Inside::start().await;
    let mut orders = OrdersClient::new(channel(inside.at).await);
    let [one, two, three] = [inside.token(), inside.token(), inside.token()];
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
    let revokes = async {
        inside.watches(WATCHES).await;
        inside.revokes_all_of_ann().await;
    };
    let (imported, ()) = tokio::join!(import, revokes);
    is_revoked(&imported.expect_err("the token was revoked"));
    ends(server).await;
    ends(both).await;
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
