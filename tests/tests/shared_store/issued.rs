//! Opaque tokens and tickets across nodes, which find in the store what another node has issued.

use std::{collections::BTreeMap, net::SocketAddr};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use tower_revoke::core::Store;
use tower_revoke_testing::rounds;
use tower_revoke_tests::{Client, Wire, issuing, node};

use crate::{
    cascade::{WAYS, revoke_at, two_nodes},
    kit::{Caller, IN_THE_END, SPENT, Stage, keeps_its_bound},
};

/// How many requests with one ticket are made at a time, on each node.
const CALLS: usize = 12;

/// Two processes over one store.
pub(crate) async fn between_processes(kind: &'static str, place: String) {
    let stage = Stage::new(kind, place);
    for (way, settings) in WAYS.iter().enumerate() {
        let (one, other) = (stage.node(settings).await, stage.node(settings).await);
        let places = [one.at, other.at];
        for round in 0..rounds(2, 5) {
            grants_end(places, &format!("{way} {round}")).await;
            tickets_end(places, &format!("tickets {way} {round}")).await;
        }
        for node in [&one, &other] {
            keeps_its_bound(node).await;
        }
    }
}

/// Two lists of one process over a store that belongs to it.
pub(crate) async fn between_lists<S: Store + Clone>(store: S) {
    let nodes = two_nodes(store, issuing::router).await;
    let places = nodes.each_ref().map(|node| node.addr);
    for round in 0..rounds(2, 5) {
        grants_end(places, &round.to_string()).await;
        tickets_end(places, &format!("tickets {round}")).await;
    }
}

/// Returns what a route responds with to this token and body.
async fn post(caller: &mut Caller, path: &str, token: &str, body: String) -> String {
    let mut request = Request::post(format!("http://localhost{path}")).header("host", "localhost");
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Full::from(body)).expect("a request");
    let answer = caller.0.send(request).await.expect("an answer");
    assert!(answer.status.is_success(), "{path}: {answer:?}");
    String::from_utf8(answer.bytes.to_vec()).expect("text")
}

async fn access(caller: &mut Caller, client: &str, grant: &str) -> String {
    post(caller, "/issued/access", "", format!("{client} {grant}")).await
}

async fn orders(caller: &mut Caller, token: &str) -> String {
    caller.ask(http::Method::GET, "/issued/orders", token).await
}

/// A refresh token takes the access tokens of its grant along, also those that are issued later.
async fn grants_end(places: [SocketAddr; 2], round: &str) {
    let [shop, bank] = node::CLIENTS;
    let [mut here, mut there] = [
        Caller::connect(places[0]).await,
        Caller::connect(places[1]).await,
    ];
    let grant = format!("grant {round}");
    let of_grant = format!("{} {grant}", shop.0);
    let refresh = post(&mut here, "/issued/refresh", "", of_grant).await;
    let of_the_grant = [
        access(&mut here, shop.0, &grant).await,
        access(&mut there, shop.0, &grant).await,
    ];
    let others = [
        access(&mut here, shop.0, &format!("another {grant}")).await,
        access(&mut there, bank.0, &format!("bank's {grant}")).await,
    ];
    // Both nodes have cached them as valid.
    for token in of_the_grant.iter().chain(&others) {
        assert_eq!(orders(&mut here, token).await, "200");
        assert_eq!(orders(&mut there, token).await, "200");
    }
    assert_eq!(orders(&mut here, &refresh).await, SPENT);
    let revoke = "/issued/revoke";
    for token in of_the_grant.iter().chain([&refresh]) {
        let verdict = revoke_at(&mut here, revoke, bank, token).await;
        assert_eq!(verdict, "400 invalid_grant");
    }
    assert_eq!(revoke_at(&mut here, revoke, shop, &refresh).await, "200");
    let late = access(&mut there, shop.0, &grant).await;
    for token in of_the_grant.iter().chain([&late]) {
        assert_eq!(orders(&mut here, token).await, SPENT);
        there
            .is_rejected_at("/issued/orders", token, &["200"])
            .await;
    }
    for caller in [&mut here, &mut there] {
        assert_eq!(revoke_at(caller, revoke, shop, &refresh).await, "200");
        for token in &others {
            assert_eq!(orders(caller, token).await, "200");
        }
    }
}

fn by_ticket(ticket: &str) -> Request<Full<Bytes>> {
    let uri = format!("http://localhost/issued/events?access_token={ticket}");
    Request::get(uri.parse::<Uri>().expect("a URI"))
        .header("host", "localhost")
        .body(Full::default())
        .expect("a request")
}

/// One of many requests on both nodes is passed on. What it has opened ends with the token for which
/// the ticket was issued, and so do tickets that nobody has used.
async fn tickets_end(places: [SocketAddr; 2], grant: &str) {
    let [mut here, mut there] = [
        Caller::connect(places[0]).await,
        Caller::connect(places[1]).await,
    ];
    let token = access(&mut here, "shop", grant).await;
    assert_eq!(orders(&mut there, &token).await, "200");
    let mut tickets = Vec::new();
    for _ in 0..3 {
        tickets.push(post(&mut here, "/issued/tickets", &token, String::new()).await);
    }
    let clients = (0..2 * CALLS).map(|number| Client::connect(places[number % 2], Wire::Http1));
    let mut clients = join_all(clients).await;
    let calls = clients
        .iter_mut()
        .map(|client| client.head(by_ticket(&tickets[0])));
    let mut verdicts = BTreeMap::new();
    let mut stream = None;
    for response in join_all(calls).await {
        let response = response.expect("a head");
        *verdicts.entry(response.status()).or_insert(0) += 1;
        if response.status() == StatusCode::OK {
            stream = Some(response.into_body());
        }
    }
    let expected = [
        (StatusCode::OK, 1),
        (StatusCode::UNAUTHORIZED, 2 * CALLS - 1),
    ];
    assert_eq!(verdicts, BTreeMap::from(expected));
    let mut stream = stream.expect("the one that won");
    let first = stream.frame().await.expect("a frame").expect("data");
    assert_eq!(first.data_ref().map(|data| &data[..]), Some(&b"begun"[..]));

    post(&mut here, "/issued/log-out", &token, String::new()).await;
    let ended = async { while let Some(Ok(_)) = stream.frame().await {} };
    let ended = tokio::time::timeout(IN_THE_END, ended).await;
    ended.expect("the stream ends with the token");
    assert_eq!(orders(&mut here, &token).await, SPENT);
    there
        .is_rejected_at("/issued/orders", &token, &["200"])
        .await;
    for (caller, ticket) in [(&mut here, &tickets[1]), (&mut there, &tickets[2])] {
        let response = caller.0.head(by_ticket(ticket)).await.expect("a head");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}
