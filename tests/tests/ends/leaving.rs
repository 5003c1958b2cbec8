//! Clients that leave before the end, or stop reading.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::{service_fn, util::Either};
use tower_revoke::{Outcome, PendingRevocations, RevokeAfterResponseLayer, UseLimitLayer};
use tower_revoke_testing::{Gate, ScriptedBody};
use tower_revoke_tests::{Client, Server, Wire, World, get};

use crate::kit::{SpendLayer, answer, assert_spent, serve};

/// A deadline so long that only the client's disconnect can have spent the token.
const NEVER: Duration = Duration::from_secs(3_600);

/// A service that responds only once its gate opens, and reports when it was called.
async fn gated(
    world: &World,
    layer: &SpendLayer,
    before: Gate,
    after: Gate,
    asked: Gate,
) -> Server {
    let service = service_fn(move |request: Request<Incoming>| {
        let (before, after, asked) = (before.clone(), after.clone(), asked.clone());
        async move {
            if request.uri().path() != "/gated" {
                return Ok(answer(request.uri().path()));
            }
            asked.open();
            before.passed().await;
            let body = ScriptedBody::new()
                .data("first")
                .wait_for(&after)
                .data("last");
            Ok::<_, Infallible>(Response::new(body))
        }
    });
    Server::start(world.protect(layer, service)).await
}

/// TRAPS 28: the response future is dropped before there is a body.
#[tokio::test]
async fn trap_28_before_the_head() {
    let pending = PendingRevocations::default();
    let revokes = RevokeAfterResponseLayer::new().deadline(NEVER);
    for layer in [
        Either::Right(revokes.pending_revocations(&pending)),
        Either::Left(UseLimitLayer::single().pending_revocations(&pending)),
    ] {
        for wire in Wire::ALL {
            let world = World::new();
            let asked = Gate::closed();
            let server = gated(
                &world,
                &layer,
                Gate::closed(),
                Gate::closed(),
                asked.clone(),
            )
            .await;
            let token = world.token();
            let mut client = Client::connect(server.addr, wire).await;
            tokio::select! {
                _ = client.head(get("/gated", &token)) => panic!("no head was sent"),
                () = asked.passed() => {}
            }
            drop(client);
            assert!(pending.shutdown(Duration::MAX).await.is_complete());
            assert_spent(&server, wire, &token, "left before the head").await;
        }
    }
}

/// TRAPS 27: no use is returned once the client has read a part of the body.
#[tokio::test]
async fn trap_27_in_the_middle() {
    let pending = PendingRevocations::default();
    let revokes = RevokeAfterResponseLayer::new().deadline(NEVER);
    let revokes = revokes.pending_revocations(&pending);
    let single = UseLimitLayer::single().pending_revocations(&pending);
    for layer in [
        Either::Right(revokes.clone()),
        Either::Right(revokes.keep_on(Outcome::Cancelled)),
        Either::Left(single.clone()),
        Either::Left(single.return_on(Outcome::Cancelled)),
    ] {
        for wire in Wire::ALL {
            let world = World::new();
            let before = Gate::closed();
            before.open();
            let server = gated(&world, &layer, before, Gate::closed(), Gate::closed()).await;
            let token = world.token();
            let mut client = Client::connect(server.addr, wire).await;
            let response = client.head(get("/gated", &token)).await.unwrap();
            let mut body = response.into_body();
            let first = body.frame().await.unwrap().unwrap();
            assert_eq!(first.into_data().unwrap(), "first");
            drop(body);
            drop(client);
            assert!(pending.shutdown(Duration::MAX).await.is_complete());
            assert_spent(&server, wire, &token, "left in the middle").await;
        }
    }
}

#[tokio::test]
async fn one_byte_before_the_end() {
    let world = World::new();
    let pending = PendingRevocations::default();
    let layer = RevokeAfterResponseLayer::new()
        .deadline(NEVER)
        .pending_revocations(&pending);
    let server = serve(&world, &layer).await;
    for way in ["/length", "/chunked", "/hint-only"] {
        let token = world.token();
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        let request =
            format!("GET {way} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        let end = if way == "/chunked" {
            "world\r\n0\r\n\r\n"
        } else {
            "o"
        };
        let almost = &end.as_bytes()[..end.len() - 1];
        let last = if way == "/length" {
            "hell"
        } else {
            "hello worl"
        };
        while !read.ends_with(almost) && !read.ends_with(last.as_bytes()) {
            read.push(stream.read_u8().await.unwrap());
        }
        drop(stream);
        assert!(pending.shutdown(Duration::MAX).await.is_complete());
        assert_spent(&server, Wire::Http1, &token, way).await;
    }
}

#[tokio::test]
async fn one_byte_before_the_end_on_http_2() {
    let world = World::new();
    let pending = PendingRevocations::default();
    let layer = RevokeAfterResponseLayer::new()
        .deadline(NEVER)
        .pending_revocations(&pending);
    let server = serve(&world, &layer).await;
    for (way, almost) in [("/length", "hell"), ("/chunked-one-frame", "hell")] {
        let token = world.token();
        let mut client = Client::connect_with_window(server.addr, Wire::Http2, 4).await;
        let response = client.head(get(way, &token)).await.unwrap();
        let mut body = response.into_body();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), almost);
        drop(body);
        drop(client);
        assert!(pending.shutdown(Duration::MAX).await.is_complete());
        assert_spent(&server, Wire::Http2, &token, way).await;
    }
}

/// TRAPS 26: a client that stops reading keeps its token valid only until the deadline.
#[tokio::test]
async fn trap_26_that_stop_reading() {
    let world = World::new();
    let pending = PendingRevocations::default();
    let layer = RevokeAfterResponseLayer::new()
        .deadline(Duration::from_millis(50))
        .pending_revocations(&pending);
    let endless = service_fn(|request: Request<Incoming>| async move {
        let path = request.uri().path().to_owned();
        if path != "/endless" {
            return Ok(answer(&path));
        }
        let block = Bytes::from(vec![0; 1 << 20]);
        let body = (0..64).fold(ScriptedBody::new(), |body, _| body.data(block.clone()));
        Ok::<_, Infallible>(Response::new(body))
    });
    let server = Server::start(world.protect(&layer, endless)).await;
    for wire in Wire::ALL {
        let token = world.token();
        let mut client = Client::connect(server.addr, wire).await;
        let response = client.head(get("/endless", &token)).await.unwrap();
        assert_eq!(pending.len(), 1);
        assert!(pending.shutdown(Duration::MAX).await.is_complete());
        assert_spent(&server, wire, &token, "stopped reading").await;
        // The stream itself continues.
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes().len(), 64 << 20);
    }
}
