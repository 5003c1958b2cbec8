//! RFC 7009 across nodes: a client ends its own grants only, and a refresh token takes the access
//! tokens of its grant along.

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use tower_revoke::{
    RevocationList,
    core::{BoxError, Store},
};
use tower_revoke_testing::rounds;
use tower_revoke_tests::{Server, node};

use crate::kit::{Caller, SPENT, Stage, keeps_its_bound};

/// How nodes ask the store: a mirror that polls or is pushed to, and a look-up for each token.
pub(crate) const WAYS: [[&str; 2]; 2] = [
    ["max_staleness=2000", "mirror_capacity=2000000"],
    ["max_staleness=500", "mirror_capacity=0"],
];

/// Two processes over one store.
pub(crate) async fn between_processes(kind: &'static str, place: String) {
    let stage = Stage::new(kind, place);
    for (way, settings) in WAYS.iter().enumerate() {
        let (one, other) = (stage.node(settings).await, stage.node(settings).await);
        for round in 0..rounds(2, 5) {
            let places = [one.at, other.at];
            grants_end(&stage, places, &format!("{way} {round}")).await;
        }
        for node in [&one, &other] {
            keeps_its_bound(node).await;
        }
    }
}

/// Two lists of one process over a store that belongs to it.
pub(crate) async fn between_lists<S: Store + Clone>(store: S) {
    let stage = Stage::new("none", String::new());
    let nodes = two_nodes(store, |list, _| node::router(list, &stage.keys())).await;
    let places = nodes.each_ref().map(|node| node.addr);
    for round in 0..rounds(2, 5) {
        grants_end(&stage, places, &round.to_string()).await;
    }
}

/// Starts two nodes of this process, each with a list of its own over the store.
pub(crate) async fn two_nodes<S: Store + Clone>(
    store: S,
    router: impl Fn(RevocationList, S) -> Result<Router, BoxError>,
) -> [Server; 2] {
    let node = async || {
        let list = RevocationList::builder(store.clone())
            .max_staleness(Duration::from_millis(500))
            .build()
            .expect("valid settings");
        list.ready().await.expect("a loaded list");
        let router = router(list, store.clone());
        Server::start(router.expect("keys and a store")).await
    };
    [node().await, node().await]
}

/// Revokes a token as a client; returns status and error.
async fn revoke(caller: &mut Caller, client: (&str, &str), token: &str) -> String {
    revoke_at(caller, "/revoke", client, token).await
}

/// Revokes a token as [`revoke`] does, at the endpoint with this path.
pub(crate) async fn revoke_at(
    caller: &mut Caller,
    path: &str,
    client: (&str, &str),
    token: &str,
) -> String {
    let mut request = node::revocation(client, token);
    *request.uri_mut() = path.parse().expect("a path");
    let answer = caller.0.send(request).await.expect("an answer");
    let error: serde_json::Value = serde_json::from_slice(&answer.bytes).unwrap_or_default();
    match error["error"].as_str() {
        Some(error) => format!("{} {error}", answer.status.as_u16()),
        None => answer.status.as_u16().to_string(),
    }
}

async fn grants_end(stage: &Stage, places: [SocketAddr; 2], round: &str) {
    let [shop, bank] = node::CLIENTS;
    let [mut here, mut there] = [
        Caller::connect(places[0]).await,
        Caller::connect(places[1]).await,
    ];
    let grant = format!("grant {round}");
    let access = |client: &str, grant: &str| node::access_token(&stage.issuer, client, grant);
    let refresh = node::refresh_token(&stage.issuer, shop.0, &grant);
    let of_the_grant = [access(shop.0, &grant), access(shop.0, &grant)];
    let others = [
        access(shop.0, &format!("another {grant}")),
        access(bank.0, &format!("bank's {grant}")),
    ];
    // Both nodes have cached them as valid.
    for token in of_the_grant.iter().chain(&others) {
        assert_eq!(here.orders(token).await, "200");
        assert_eq!(there.orders(token).await, "200");
    }

    // Neither another client nor a wrong secret ends anything.
    for token in of_the_grant.iter().chain([&refresh]) {
        let verdict = revoke(&mut here, bank, token).await;
        assert_eq!(verdict, "400 invalid_grant");
    }
    // Each failure is answered later than the one before.
    let verdict = revoke(&mut there, (shop.0, bank.1), &refresh).await;
    assert_eq!(verdict, "401 invalid_client");
    let verdict = revoke(&mut here, shop, &others[1]).await;
    assert_eq!(verdict, "400 invalid_grant");
    let new = Caller::connect(places[1]).await;
    for mut caller in [new, Caller::connect(places[0]).await] {
        for token in of_the_grant.iter().chain(&others) {
            assert_eq!(caller.orders(token).await, "200");
        }
    }

    assert_eq!(revoke(&mut here, shop, &refresh).await, "200");
    for token in &of_the_grant {
        assert_eq!(here.orders(token).await, SPENT);
    }
    for token in &of_the_grant {
        there.is_rejected(token, &["200"]).await;
    }
    // So are those that are issued from now on.
    let late = access(shop.0, &grant);
    for caller in [&mut here, &mut there] {
        assert_eq!(caller.orders(&late).await, SPENT);
        assert_eq!(revoke(caller, shop, &refresh).await, "200");
        for token in &others {
            assert_eq!(caller.orders(token).await, "200");
        }
    }
}
