//! Streams end with their token: status 16 after a whole message. All of these tokens are spent, which
//! ends no stream.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tonic::{Code, Streaming};
use tonic_service::proto::{Price, orders_client::OrdersClient};
use tower_revoke::{Revocation, RevocationKey};

use crate::kit::{Inside, Kind, channel, line, python, step, watch, with_token};

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

async fn ends(mut prices: Streaming<Price>) {
    let status = loop {
        match prices.message().await {
            Ok(price) => assert!(price.is_some(), "the stream ended without a status"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "the token was revoked");
}

#[tokio::test]
async fn grpc_streams_of_tonic_end_with_their_token() {
    let inside = Inside::start().await;
    let mut orders = OrdersClient::new(channel(inside.at).await);
    let (one, other) = (inside.token(), inside.token());
    let server = orders.watch(with_token(watch(0), Some(&one))).await;
    let lines = stream::iter([line("tea", 1)]).chain(stream::pending());
    let both = orders.quote(with_token(lines, Some(&other))).await;
    let mut server = server.expect("a head").into_inner();
    let mut both = both.expect("a head").into_inner();
    for stream in [&mut server, &mut both] {
        assert!(stream.message().await.expect("no error").is_some());
    }
    inside.watches(2).await;
    inside.revokes_all_of_ann().await;
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
    let steps = vec![endless(Kind::Watch), endless(Kind::Quote)];
    let revokes = async {
        inside.watches(2).await;
        inside.revokes_all_of_ann().await;
    };
    let (outcomes, ()) = tokio::join!(python(inside.at, steps, true), revokes);
    for outcome in outcomes {
        assert_eq!(outcome.code, Code::Unauthenticated);
        assert_eq!(outcome.details, "the token was revoked");
        assert!(outcome.answers > 0);
    }
}
