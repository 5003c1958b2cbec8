//! Tests rejections as clients see them: the same for each kind of method, with tonic and grpcio.

use futures_util::stream;
use http::Method;
use serde_json::json;
use tonic::Code;
use tonic_service::proto::orders_client::OrdersClient;
use tower_revoke_testing::{Behavior, StoreOp};
use tower_revoke_tests::{Client, Wire, servers::grpc_js};

use crate::kit::{
    Example, Inside, Kind, Outcome, ask, call, channel, line, outcomes, python, step, with_token,
};

const JAVASCRIPT: &str = include_str!("client.js");

/// A case, its token, and the expected outcome of a call with it.
type Case = (&'static str, Option<String>, Outcome);

/// All cases that the program alone can show, with fresh tokens. Only the valid token costs a use;
/// the spent one has cost its use before.
async fn cases(example: &mut Example, kind: Kind) -> Vec<Case> {
    let unauthenticated = |details| Outcome::rejected(Code::Unauthenticated, details);
    let good = example.token().await;
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    let expired = example.token_with("scope=orders&expired").await;
    let revoked = example.token().await;
    let mut client = Client::connect(example.at, Wire::Http1).await;
    let logout = ask(&mut client, Method::POST, "/logout", Some(&revoked)).await;
    assert_eq!(logout, (200, "logged out\n".to_owned()));
    let elsewhere = example.token_with("scope=orders&audience=billing").await;
    let unscoped = example.token_with("scope=orders.read").await;
    vec![
        ("none", None, unauthenticated("a bearer token is required")),
        (
            "bad",
            Some(forged),
            unauthenticated("the token's signature is wrong"),
        ),
        (
            "no token at all",
            Some("secret".to_owned()),
            unauthenticated("the token is malformed"),
        ),
        (
            "expired",
            Some(expired),
            unauthenticated("the token has expired"),
        ),
        (
            "revoked",
            Some(revoked),
            unauthenticated("the token was revoked"),
        ),
        (
            "for others",
            Some(elsewhere),
            unauthenticated("the token is for another audience"),
        ),
        (
            "too little scope",
            Some(unscoped),
            Outcome::rejected(Code::PermissionDenied, "the token doesn't grant this"),
        ),
        ("good", Some(good.clone()), Outcome::good(kind)),
        ("spent", Some(good), Outcome::spent()),
    ]
}

#[tokio::test]
async fn grpc_every_rejection_is_a_status_for_a_tonic_client() {
    let mut example = Example::start().await;
    let channel = channel(example.at).await;
    for kind in Kind::ALL {
        for (case, token, expected) in cases(&mut example, kind).await {
            let outcome = call(&channel, kind, token.as_deref()).await;
            assert_eq!(outcome, expected, "{kind:?} {case}");
        }
    }
}

#[tokio::test]
async fn grpc_every_rejection_is_a_status_for_grpcio() {
    let mut example = Example::start().await;
    for kind in Kind::ALL {
        let cases = cases(&mut example, kind).await;
        let steps = cases
            .iter()
            .map(|(_, token, _)| step(kind, token.as_deref()));
        let outcomes = python(example.at, steps.collect(), false).await;
        for ((case, _, expected), outcome) in cases.iter().zip(&outcomes) {
            assert_eq!(outcome, expected, "{kind:?} {case}");
        }
        assert_eq!(outcomes.len(), cases.len());
    }
}

/// A client stream that stays open is rejected immediately.
#[tokio::test]
async fn grpc_a_stream_that_stays_open_is_rejected_too() {
    let example = Example::start().await;
    for kind in [Kind::Import, Kind::Quote] {
        let mut endless = step(kind, None);
        endless["endless"] = true.into();
        let outcomes = python(example.at, vec![endless], false).await;
        let rejected = Outcome::rejected(Code::Unauthenticated, "a bearer token is required");
        assert_eq!(outcomes, [rejected], "{kind:?}");
    }
}

/// A client with an invalid token and a megabyte to send still reads the status: it arrives during
/// the upload, followed by a reset of the stream.
#[tokio::test]
async fn trap_51_a_long_client_stream_with_a_bad_token_gets_its_status() {
    const TIMES: usize = 20;
    let mut example = Example::start().await;
    let good = example.token().await;
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    let details = "the token's signature is wrong";
    let rejected = vec![Outcome::rejected(Code::Unauthenticated, details); TIMES];

    let mut orders = OrdersClient::new(channel(example.at).await);
    let mut tonic = Vec::new();
    for _ in 0..TIMES {
        let long = line(&"tea".repeat(1 << 14), 1);
        let lines = stream::iter(vec![long; 22]);
        let status = orders.import(with_token(lines, Some(&forged))).await;
        let status = status.expect_err("a bad token");
        tonic.push(Outcome::rejected(status.code(), status.message()));
    }
    assert_eq!(tonic, rejected, "tonic");

    let mut long = step(Kind::Import, Some(&forged));
    long["megabyte"] = true.into();
    let grpcio = python(example.at, vec![long; TIMES], false).await;
    assert_eq!(grpcio, rejected, "grpcio");

    let job = json!({
        "at": example.at.to_string(),
        "path": "/orders.v1.Orders/Import",
        "token": forged,
        "messages": 16,
        "size": 1 << 16,
        "times": TIMES,
    });
    let grpc_js = outcomes(&grpc_js(JAVASCRIPT, &job).await);
    assert_eq!(grpc_js, rejected, "grpc-js");
}

#[tokio::test]
async fn grpc_a_store_that_is_down_is_unavailable() {
    let inside = Inside::start().await;
    let channel = channel(inside.at).await;
    let unavailable = Outcome::rejected(Code::Unavailable, "the token can't be checked now");
    for kind in Kind::ALL {
        // All of the store, and only its uses: in the second case the token passes verification and
        // lookup.
        for down in [None, Some(StoreOp::TakeUse)] {
            let token = inside.token();
            match down {
                Some(op) => inside.store.set(op, Behavior::Fails),
                None => inside.store.set_all(Behavior::Fails),
            }
            let tonic = call(&channel, kind, Some(&token)).await;
            assert_eq!(tonic, unavailable, "{kind:?} {down:?}");
            let grpcio = python(inside.at, vec![step(kind, Some(&token))], false).await;
            assert_eq!(
                grpcio,
                std::slice::from_ref(&unavailable),
                "{kind:?} {down:?}"
            );
            // The service was not called, so nothing was spent.
            inside.store.set_all(Behavior::Works);
            let good = call(&channel, kind, Some(&token)).await;
            assert_eq!(good, Outcome::good(kind), "{kind:?} {down:?}");
        }
    }
    let counts = inside.app.monitor().snapshot().services["orders"]
        .total
        .clone();
    assert_eq!((counts.success, counts.rejected), (8, 16));
}
