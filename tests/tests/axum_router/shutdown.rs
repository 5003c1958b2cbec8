//! Tests SIGTERM with a use in flight: the use ends as spent or returned, and the program logs the
//! result.

use std::{net::SocketAddr, time::Duration};

use axum_router::{Limits, Stopped, write_export};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower_revoke::Reason;
use tower_revoke_testing::{Behavior, StoreOp};
use tower_revoke_tests::curl::curl;

use crate::{
    download::{begin, is_whole},
    kit::{Example, Inside, SHOP, WIRES, show, status_of},
};

/// More rows than the buffers between a server and a client that doesn't read can hold.
const MANY: u32 = 1_000_000;

/// Waits until the server accepts no more connections.
async fn rejects(at: SocketAddr) {
    while TcpStream::connect(at).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

async fn read_to_end(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("the rest");
    bytes
}

#[tokio::test]
async fn sigterm_lets_a_download_finish_and_the_program_reports_it() {
    let mut shop = Example::start(SHOP).await;
    let token = shop.token("scope=download").await;
    let download = begin(shop.at, &format!("/download?access_token={token}"), None).await;
    shop.program.terminate();
    rejects(shop.at).await;
    assert!(is_whole(&read_to_end(download).await));
    let stopped = shop.program.says("stopped: ").await;
    assert_eq!(stopped, "all calls ended, nothing is owed");
    assert!(shop.program.ended().await.success());
}

#[tokio::test]
async fn uses_in_flight_are_spent_after_the_shutdown() {
    let inside = Inside::open(Limits::default()).await;
    write_export(&inside.export).expect("a file");
    let (single, life) = (inside.token("download"), inside.token("api"));
    let link = format!("/download?access_token={single}");
    let download = begin(inside.at, &link, None).await;
    let rows = format!("/api/report?rows={MANY}");
    let report = begin(inside.at, &rows, Some(&life)).await;
    inside.app.stopping.cancel();
    rejects(inside.at).await;
    // The revocation stays pending until the report has been read.
    assert_eq!(inside.app.pending.len(), 1);
    assert!(is_whole(&read_to_end(download).await));
    assert!(read_to_end(report).await.ends_with(b"\r\n0\r\n\r\n"));

    let app = inside.app.clone();
    let stopped = inside.stopped().await;
    assert_eq!(status_of(&app, &single).await, Some(Reason::Spent));
    assert_eq!(status_of(&app, &life).await, Some(Reason::Spent));
    let nothing_open = Stopped {
        all_calls_ended: true,
        owed: 0,
    };
    assert_eq!(stopped, nothing_open);
    assert_eq!(app.pending.len(), 0);
}

/// The rule returns the use before the client has its response.
#[tokio::test]
async fn a_returned_use_is_back_after_the_shutdown() {
    let inside = Inside::open(Limits::default()).await;
    let token = inside.token("api");
    let slow = Behavior::Slow(Duration::from_millis(200));
    inside.store.set(StoreOp::ReturnUse, slow);
    let call = {
        let (at, token) = (inside.at, token.clone());
        tokio::spawn(async move { show(at, WIRES[0], "/api/quote/rum", &token).await })
    };
    inside.store.called(StoreOp::ReturnUse, 1).await;
    inside.app.stopping.cancel();
    assert_eq!(call.await.expect("an answer").status, 404);
    assert_eq!(status_of(&inside.app, &token).await, None);
    let stopped = inside.stopped().await;
    assert_eq!(stopped.to_string(), "all calls ended, nothing is owed");
}

/// TRAPS 28: the caller has left by the time the store answers.
#[tokio::test]
async fn trap_28_a_caller_that_leaves_while_its_use_is_taken_has_spent_it() {
    let inside = Inside::open(Limits::default()).await;
    let token = inside.token("api invoices");
    let slow = Behavior::Slow(Duration::from_millis(200));
    inside.store.set(StoreOp::TakeUse, slow);
    let mut caller = TcpStream::connect(inside.at).await.expect("a server");
    let request =
        format!("GET /api/invoice HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {token}\r\n\r\n");
    caller.write_all(request.as_bytes()).await.expect("sent");
    inside.store.called(StoreOp::TakeUse, 1).await;
    drop(caller);
    inside.app.stopping.cancel();
    let app = inside.app.clone();
    let stopped = inside.stopped().await;
    assert_eq!(stopped.to_string(), "all calls ended, nothing is owed");
    assert_eq!(status_of(&app, &token).await, Some(Reason::Spent));
}

/// The report of the shutdown counts the writes that the store didn't accept.
#[tokio::test]
async fn failed_writes_are_reported_at_shutdown() {
    let limits = Limits {
        calls: Duration::from_secs(10),
        owed: Duration::from_millis(100),
    };
    let inside = Inside::open(limits).await;
    inside.store.set(StoreOp::Revoke, Behavior::Fails);
    let url = format!("http://{}/api/report", inside.at);
    let header = format!("Authorization: Bearer {}", inside.token("api"));
    assert!(!curl(&["-H", &header, &url]).await.status.success());
    inside.app.stopping.cancel();
    let stopped = inside.stopped().await;
    assert_eq!(stopped.to_string(), "all calls ended, still owed: 1");
}

/// TRAPS 26: a client that stops reading.
#[tokio::test]
async fn trap_26_a_client_that_stopped_reading_does_not_delay_the_shutdown() {
    let limits = Limits {
        calls: Duration::from_millis(100),
        ..Limits::default()
    };
    let inside = Inside::open(limits).await;
    write_export(&inside.export).expect("a file");
    let token = inside.token("download");
    let stalled = begin(inside.at, &format!("/download?access_token={token}"), None).await;
    inside.app.stopping.cancel();
    assert_eq!(status_of(&inside.app, &token).await, Some(Reason::Spent));
    let stopped = inside.stopped().await;
    assert_eq!(
        stopped.to_string(),
        "some calls were cut off, nothing is owed"
    );
    drop(stalled);
}
