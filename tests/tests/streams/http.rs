//! The end of each kind of body, as curl sees it.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower_revoke::{Lift, Revocation, RevocationKey, TokenLifetimeLayer};
use tower_revoke_tests::curl::{WIRES, show};

use crate::kit::{App, ISSUER};

/// The transfer was shorter than announced: a missing terminator, or missing bytes.
const PARTIAL: i32 = 18;
/// The stream was reset.
const RESET: i32 = 92;

fn log_out(subject: &str) -> Revocation {
    Revocation::all_of(RevocationKey::subject(ISSUER, subject)).expect("a rule")
}

#[tokio::test]
async fn each_body_ends_as_its_protocol_says_after_a_revocation() {
    let app = App::start(TokenLifetimeLayer::new().end_event("token-ended")).await;
    let [http1, http2] = WIRES;
    for (wire, path, code) in [
        (http1, "/chunks", PARTIAL),
        (http1, "/length", PARTIAL),
        (http1, "/events", 0),
        (http2, "/chunks", RESET),
        (http2, "/length", RESET),
        (http2, "/events", 0),
    ] {
        let token = app.token("1", "ann");
        let mut others = app.listen("/chunks", &app.token("1", "bob"), &[wire]).await;
        let stream = app.listen(path, &token, &[wire]).await;
        app.list.revoke(log_out("ann")).await.expect("revoked");
        let (ended, text) = stream.ended().await;
        assert_eq!(ended, Some(code), "{wire} {path}");
        let event = "\n\nevent: token-ended\ndata: revoked\n\n";
        assert_eq!(text.ends_with(event), path == "/events", "{text}");
        others.goes_on().await;
        let again = show(app.at, wire, path, &token).await;
        assert_eq!(again.verdict(), "401 invalid_token");
        let lift = Lift::new(RevocationKey::subject(ISSUER, "ann"));
        let lift = lift.by("ann").because("the next round");
        assert!(app.list.lift(lift).await.expect("lifted"));
    }
}

#[tokio::test]
async fn each_body_ends_when_its_token_expires() {
    let app = App::start(TokenLifetimeLayer::new().end_event("token-ended")).await;
    for (path, code) in [("/chunks", PARTIAL), ("/events", 0)] {
        let token = app.claims("1", "ann").expires_in(Duration::from_secs(3));
        let stream = app.listen(path, &token.sign(), &[]).await;
        let (ended, text) = stream.ended().await;
        assert_eq!(ended, Some(code), "{path}");
        assert_eq!(text.contains("data: expired"), path == "/events", "{text}");
    }
}

#[tokio::test]
async fn http_10_is_rejected_before_the_handler() {
    let app = App::start(TokenLifetimeLayer::new()).await;
    let token = app.token("1", "ann");
    assert_eq!(
        show(app.at, "--http1.0", "/chunks", &token).await.status,
        505
    );
}

/// A request body without an end, from a client that reads the answer.
#[tokio::test]
async fn an_upload_ends_with_its_token_and_the_handler_answers() {
    let app = App::start(TokenLifetimeLayer::new()).await;
    let token = app.token("1", "ann");
    let mut socket = TcpStream::connect(app.at).await.expect("a server");
    let head = format!(
        "POST /upload HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\
         content-length: 100\r\n\r\ntick"
    );
    socket.write_all(head.as_bytes()).await.expect("sent");
    while app.list.stats().watches == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    app.list.revoke(log_out("ann")).await.expect("revoked");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(
        answer.ends_with("cut off: the token was revoked"),
        "{answer}"
    );
}
