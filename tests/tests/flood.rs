//! Floods a revocation endpoint with wrong secrets, over sockets: they cost no more than their own
//! requests, and the right client gets through.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::Router;
use tokio::{sync::mpsc, task::JoinSet};
use tower_revoke::{
    AuthenticationError, ClientAuthentication, ClientAuthenticator, ClientCredentials,
    RequireBearerLayer, RevocationEndpoint, SecretHash, StaticClients, core::BoxFuture,
};
use tower_revoke_testing::StoreOp;
use tower_revoke_tests::{Client, Server, Wire, World, get, node};

const WRONG: usize = 10_000;
const CONNECTIONS: usize = 4;

/// How many failures wait at one time.
const WAITING: usize = 1_024;

/// How often the right client calls meanwhile.
const RIGHT: usize = 100;

/// Counts how often the clients are asked.
#[derive(Clone)]
struct Counted {
    clients: StaticClients,
    asked: Arc<AtomicUsize>,
}

impl ClientAuthenticator for Counted {
    fn authenticate<'a>(
        &'a self,
        credentials: ClientCredentials<'a>,
    ) -> BoxFuture<'a, Result<(), AuthenticationError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.clients.authenticate(credentials)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc7009_5_the_right_client_gets_through_a_flood() {
    let world = World::new();
    let shop = node::CLIENTS[0];
    let counted = Counted {
        clients: StaticClients::new().secret(shop.0, SecretHash::of(shop.1).expect("a hash")),
        asked: Arc::default(),
    };
    // The flood comes from where the right client is.
    let clients = ClientAuthentication::new(counted.clone())
        .peer_address(|_| Some(IpAddr::from(Ipv4Addr::LOCALHOST)));
    let revoke = RevocationEndpoint::new(world.list.clone(), clients);
    let app = Router::new()
        .route("/orders", axum::routing::get(async || "some orders"))
        .layer(RequireBearerLayer::new(world.tokens.clone()))
        .route_service("/revoke", revoke.verifier(world.tokens.clone()));
    let server = Server::start(app).await;

    let presented = node::access_token(&world.issuer, shop.0, "a grant");
    let (answered, mut answers) = mpsc::unbounded_channel();
    let mut connections = Vec::new();
    let mut flood = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let connection = Client::connect(server.addr, Wire::Http2).await;
        for _ in 0..WRONG / CONNECTIONS {
            let (mut stream, answered) = (connection.another(), answered.clone());
            let request = node::revocation((shop.0, "wrong"), &presented);
            flood.spawn(async move {
                let answer = stream.send(request).await.expect("an answer");
                let is_busy = answer.status == 429;
                assert_eq!(answer.headers.contains_key("retry-after"), is_busy);
                // The test has stopped counting if it failed.
                let _ = answered.send(answer.status.as_u16());
            });
        }
        connections.push(connection);
    }
    drop(answered);
    let mut counts = BTreeMap::<u16, usize>::new();
    // As many wait as may wait once one is not let in.
    while !counts.contains_key(&429) {
        let status = answers.recv().await.expect("more answers");
        *counts.entry(status).or_default() += 1;
    }
    let mut right = Client::connect(server.addr, Wire::Http1).await;
    for number in 0..RIGHT {
        let token = node::access_token(&world.issuer, shop.0, &number.to_string());
        let answer = right.send(node::revocation(shop, &token)).await;
        assert_eq!(answer.expect("an answer").status, 200);
        let answer = right.send(get("/orders", &token)).await;
        let verdict = answer.expect("an answer").verdict();
        assert_eq!(verdict, "401 invalid_token");
    }
    while let Some(status) = answers.recv().await {
        *counts.entry(status).or_default() += 1;
    }
    while let Some(ended) = flood.join_next().await {
        ended.expect("no panic");
    }
    assert_eq!(counts.keys().collect::<Vec<_>>(), [&401, &429]);
    assert_eq!(counts.values().sum::<usize>(), WRONG);
    assert!(counts[&401] >= WAITING, "{counts:?}");
    assert_eq!(counted.asked.load(Ordering::Relaxed), WRONG + RIGHT);
    // The token that a wrong client presented is never asked about, nor ended.
    assert_eq!(world.store.calls(StoreOp::Revoke), RIGHT as u64);
    let answer = right.send(get("/orders", &presented)).await;
    assert_eq!(answer.expect("an answer").status, 200);
}
