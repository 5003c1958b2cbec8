//! Tests the requests on the wire and the handling of responses, over real sockets.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Method, StatusCode};
use tokio::net::TcpListener;
use tower_revoke_core::{Endpoint, HealthSource, HealthStatus};
use tower_revoke_http::HttpsClient;
use tower_revoke_oauth::{DeliveryFailure, RevocationClient};
use tower_revoke_testing::RecordedLog;

use crate::support::{SECRET, Server, answer, member, status, tell};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn rfc7009_2_1_the_request_is_a_form_with_the_token_and_a_hint() {
    let mut server = Server::start([status(200)]).await;
    let client = server.client().build().unwrap();
    tell(&client, "a.b+c/d~e==");
    assert!(client.shutdown(LONG).await.is_complete());
    let (head, body) = server.next().await;
    assert_eq!((head.method, head.uri.path()), (Method::POST, "/revoke"));
    let form = "application/x-www-form-urlencoded";
    assert_eq!(head.headers["content-type"], form);
    let members: Vec<_> = form_urlencoded::parse(&body).into_owned().collect();
    let expected = [
        ("token".to_owned(), "a.b+c/d~e==".to_owned()),
        ("token_type_hint".to_owned(), "access_token".to_owned()),
    ];
    assert_eq!(members, expected);
}

#[tokio::test]
async fn rfc7009_2_1_the_hint_is_configurable_or_omitted() {
    let mut server = Server::start([status(200)]).await;
    for (hint, sent) in [("refresh_token", Some("refresh_token")), ("", None)] {
        let client = server.client().token_type_hint(hint).build().unwrap();
        tell(&client, "abc");
        assert!(client.shutdown(LONG).await.is_complete());
        let (_, body) = server.next().await;
        assert_eq!(member(&body, "token_type_hint").as_deref(), sent);
    }
}

const HOSTILE: [(&str, &str); 5] = [
    ("shop", "s3cret"),
    ("a:b", ":c:"),
    ("100%", "%41+ &=?"),
    ("two words", "\u{7f}\r\nX: y"),
    ("bücher", "пароль"),
];

#[tokio::test]
async fn rfc6749_2_3_1_basic_carries_any_id_and_secret() {
    let mut server = Server::start([status(200)]).await;
    for (id, secret) in HOSTILE {
        let client = server.client().client_credentials(id, secret);
        let client = client.build().unwrap();
        tell(&client, "abc");
        assert!(client.shutdown(LONG).await.is_complete());
        let (head, body) = server.next().await;
        let value = head.headers["authorization"].to_str().unwrap();
        let pair = BASE64_STANDARD.decode(value.strip_prefix("Basic ").unwrap());
        let pair = String::from_utf8(pair.unwrap()).unwrap();
        // As a server parses it: split at the first colon, then decode each half.
        let (first, second) = pair.split_once(':').unwrap();
        let decode = |half: &str| {
            let mut members = form_urlencoded::parse(half.as_bytes());
            members.next().unwrap().0.into_owned()
        };
        assert_eq!(
            (decode(first).as_str(), decode(second).as_str()),
            (id, secret)
        );
        assert_eq!(member(&body, "client_id"), None);
        assert_eq!(member(&body, "client_secret"), None);
    }
}

#[tokio::test]
async fn rfc6749_2_3_1_credentials_in_the_form_are_never_in_the_header_too() {
    let mut server = Server::start([status(200)]).await;
    for (id, secret) in HOSTILE {
        let client = server.client().client_credentials(id, secret);
        let client = client.credentials_in_form().build().unwrap();
        tell(&client, "abc");
        assert!(client.shutdown(LONG).await.is_complete());
        let (head, body) = server.next().await;
        assert!(!head.headers.contains_key("authorization"));
        assert_eq!(member(&body, "client_id").as_deref(), Some(id));
        assert_eq!(member(&body, "client_secret").as_deref(), Some(secret));
        assert_eq!(member(&body, "token").as_deref(), Some("abc"));
    }
}

#[tokio::test]
async fn trap_16_wso2_s_empty_response_is_a_success_and_its_headers_are_dropped() {
    let log = RecordedLog::start();
    let mut server = Server::start([answer(
        200,
        &[
            ("content-type", "text/html"),
            ("content-length", "0"),
            ("cache-control", "no-store"),
            ("pragma", "no-cache"),
            ("revokedaccesstoken", "the-very-token"),
            ("authorizeduser", "ann-of-wso2"),
            ("revokedrefreshtoken", "its-refresh-token"),
        ],
        "",
    )])
    .await;
    let client = server.client().build().unwrap();
    tell(&client, "the-very-token");
    let told = client.shutdown(LONG).await;
    assert_eq!((told.delivered, told.queued), (1, 0));
    assert_eq!(client.stats().failing_since, None);
    assert!(
        log.text().contains(&server.address.to_string()),
        "{}",
        log.text()
    );
    let shown = format!("{} {client:?} {told:?}", log.text());
    for secret in ["the-very-token", "ann-of-wso2", "its-refresh-token", SECRET] {
        assert!(!shown.contains(secret), "{secret}");
    }
    assert_eq!(server.rest().len(), 1);
}

#[tokio::test]
async fn trap_35_an_error_in_the_body_of_a_200_is_a_success() {
    let error = r#"{"error":"unsupported_token_type"}"#;
    let json = [("content-type", "application/json")];
    let mut server = Server::start([answer(200, &json, error)]).await;
    let client = server.client().build().unwrap();
    tell(&client, "abc");
    let told = client.shutdown(LONG).await;
    assert_eq!((told.delivered, told.rejected), (1, 0));
    assert_eq!(server.rest().len(), 1);
}

#[tokio::test]
async fn trap_35_unsupported_token_type_is_counted_and_never_retried() {
    let log = RecordedLog::start();
    let error = r#"{"error":"unsupported_token_type","error_description":"no JWT abc0"}"#;
    let mut server = Server::start([answer(400, &[], error)]).await;
    let client = server.client().build().unwrap();
    for n in 0..20 {
        tell(&client, &format!("abc{n}"));
    }
    let told = client.shutdown(LONG).await;
    assert_eq!((told.delivered, told.rejected, told.queued), (0, 20, 0));
    assert!(told.is_complete());
    assert_eq!(server.rest().len(), 20);
    let stats = client.stats();
    assert_eq!(stats.rejected, 20);
    assert_eq!(stats.last_rejection, Some("unsupported_token_type"));
    assert_eq!(stats.failing_since, None);
    assert_eq!(log.lines_with("which is not retried"), 1, "{}", log.text());
    assert!(!log.text().contains("abc0"));
}

#[tokio::test]
async fn trap_16_tokens_wait_until_bad_credentials_are_replaced() {
    for rejection in [
        status(401),
        status(403),
        answer(400, &[], r#"{"error":"invalid_client"}"#),
    ] {
        let log = RecordedLog::start();
        let mut server = Server::start([rejection, status(200)]).await;
        let client = server.client().build().unwrap();
        tell(&client, "the-waiting-token");
        server.next().await;
        // The pause would be 30 s; this attempt is made because the credentials are new.
        client
            .set_client_credentials("shop", "a-mended-secret")
            .unwrap();
        let (head, body) = server.next().await;
        let mended = BASE64_STANDARD.encode("shop:a-mended-secret");
        assert_eq!(head.headers["authorization"], format!("Basic {mended}"));
        assert_eq!(member(&body, "token").as_deref(), Some("the-waiting-token"));
        assert!(client.shutdown(LONG).await.queued == 0);
        assert_eq!((client.stats().delivered, client.stats().rejected), (1, 0));
        assert!(!client.stats().needs_operator);
        for secret in [SECRET, "a-mended-secret", "the-waiting-token"] {
            assert!(!log.text().contains(secret), "{secret}");
        }
    }
}

#[tokio::test]
async fn a_failing_server_is_retried_until_it_answers() {
    let answers = [500, 502, 500, 200].map(status);
    let mut server = Server::start(answers).await;
    let client = server.client().build().unwrap();
    tell(&client, "abc");
    for _ in 0..4 {
        let (_, body) = server.next().await;
        assert_eq!(member(&body, "token").as_deref(), Some("abc"));
    }
    assert_eq!(client.shutdown(LONG).await.queued, 0);
    let stats = client.stats();
    assert_eq!((stats.delivered, stats.queued), (1, 0));
    assert_eq!(
        stats.last_failure,
        Some(DeliveryFailure::Server(StatusCode::INTERNAL_SERVER_ERROR))
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_token() {
    for code in [301, 302, 303, 307, 308] {
        let mut server =
            Server::start([answer(code, &[("location", "/elsewhere")], ""), status(200)]).await;
        let client = server.client();
        let client = client
            .slow_retry_interval(Duration::from_millis(1))
            .build()
            .unwrap();
        tell(&client, "abc");
        server.next().await;
        let (head, _) = server.next().await;
        assert_eq!((head.method, head.uri.path()), (Method::POST, "/revoke"));
        assert_eq!(client.shutdown(LONG).await.queued, 0);
        let redirect = StatusCode::from_u16(code).unwrap();
        assert_eq!(
            client.stats().last_failure,
            Some(DeliveryFailure::Endpoint(redirect))
        );
    }
}

#[tokio::test]
async fn an_endless_response_is_cut_off() {
    let huge = vec![b' '; 65 * 1024];
    let mut server = Server::start([answer(200, &[], huge), status(200)]).await;
    let client = server.client();
    let client = client
        .slow_retry_interval(Duration::from_millis(1))
        .build()
        .unwrap();
    tell(&client, "abc");
    server.next().await;
    server.next().await;
    assert_eq!(client.shutdown(LONG).await.queued, 0);
    assert_eq!(client.stats().last_failure, Some(DeliveryFailure::TooLarge));
}

#[tokio::test]
async fn a_server_that_never_answers_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let endpoint = Endpoint::new(&format!("http://{address}/revoke")).unwrap();
    let client = RevocationClient::builder(endpoint)
        .client_credentials("shop", SECRET)
        .http_client(HttpsClient::new().unwrap())
        .request_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    tell(&client, "abc");
    // Accepts connections and keeps them open without responding.
    let first = listener.accept().await.unwrap();
    let second = listener.accept().await.unwrap();
    assert_eq!(client.stats().last_failure, Some(DeliveryFailure::TimedOut));
    assert_eq!((client.stats().queued, client.stats().delivered), (1, 0));
    drop((first, second));
}

#[tokio::test]
async fn a_server_that_is_down_at_the_start_is_told_when_it_is_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let endpoint = Endpoint::new(&format!("http://{address}/revoke")).unwrap();
    let client = RevocationClient::builder(endpoint)
        .client_credentials("shop", SECRET)
        .http_client(HttpsClient::new().unwrap())
        .build()
        .unwrap();
    tell(&client, "abc");
    tell(&client, "def");
    let told = client.shutdown(Duration::from_millis(100)).await;
    assert_eq!((told.delivered, told.queued), (0, 2));
    assert!(!told.is_complete());
    assert_eq!(
        client.stats().last_failure,
        Some(DeliveryFailure::Unreachable)
    );
    let since = client.stats().failing_since;
    assert!(since.is_some());
    let check = &client.health()[0];
    assert_eq!((check.status, check.since), (HealthStatus::Warn, since));
    assert_eq!(check.of, Some(address.to_string()));

    let listener = TcpListener::bind(address).await.unwrap();
    let _server = Server::on(listener, |_, _| status(200));
    let told = client.shutdown(LONG).await;
    assert_eq!((told.delivered, told.queued), (2, 0));
    assert_eq!(client.stats().failing_since, None);
    let check = &client.health()[0];
    assert_eq!((check.status, check.since), (HealthStatus::Pass, None));
    assert_eq!(check.output, "0 queued; no failure");
}

#[tokio::test]
async fn ten_thousand_tokens_are_all_delivered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let mut server = Server::on(listener, move |_, _| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        status(if number % 1_000 == 7 { 500 } else { 200 })
    });
    let client = server.client().queue_capacity(10_000).build().unwrap();
    for n in 0..10_000 {
        tell(&client, &format!("token-{n}"));
    }
    assert!(client.shutdown(LONG).await.is_complete());
    assert_eq!(client.stats().delivered, 10_000);
    let seen = server.rest();
    let tokens: std::collections::HashSet<_> = seen
        .iter()
        .map(|(_, body)| member(body, "token").unwrap())
        .collect();
    assert_eq!(tokens.len(), 10_000);
    assert!(seen.len() > 10_000, "some were sent twice");
}
