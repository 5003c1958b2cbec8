//! Tests the discovery of the endpoint in the issuer's metadata, over real sockets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use tokio::net::TcpListener;
use tower_revoke_http::HttpsClient;
use tower_revoke_oauth::{DeliveryFailure, RevocationClient};

use crate::support::{SECRET, Server, answer, status, tell};

const LONG: Duration = Duration::from_secs(60);
const OPENID: &str = "/realms/shop/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server/realms/shop";

fn client(issuer: &str) -> RevocationClient {
    RevocationClient::discover(issuer)
        .client_credentials("shop", SECRET)
        .http_client(HttpsClient::new().unwrap())
        .build()
        .unwrap()
}

/// An issuer whose documents are `document(path, issuer, number of the request)`.
async fn issuer(
    document: impl Fn(&str, &str, usize) -> Option<String> + Send + Sync + 'static,
) -> (Server, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}/realms/shop", listener.local_addr().unwrap());
    let name = issuer.clone();
    let count = Arc::new(AtomicUsize::new(0));
    let server = Server::on(listener, move |head, _| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let path = head.uri.path();
        match document(path, &name, number) {
            Some(document) => answer(200, &[], document),
            None if path.ends_with("/revoke") => status(200),
            None => status(404),
        }
    });
    (server, issuer)
}

fn metadata(issuer: &str, endpoint: &str) -> String {
    format!(r#"{{"issuer":"{issuer}","revocation_endpoint":"{endpoint}"}}"#)
}

fn paths(server: &mut Server) -> Vec<String> {
    let seen = server.rest();
    seen.iter()
        .map(|(head, _)| format!("{} {}", head.method, head.uri.path()))
        .collect()
}

#[tokio::test]
async fn rfc8414_3_the_openid_document_is_requested_first_and_once() {
    let (mut server, issuer) = issuer(|path, issuer, _| {
        (path == OPENID).then(|| metadata(issuer, &format!("{issuer}/revoke")))
    })
    .await;
    let client = client(&issuer);
    for n in 0..5 {
        tell(&client, &format!("token-{n}"));
    }
    assert!(client.shutdown(LONG).await.is_complete());
    let revoke = "POST /realms/shop/revoke".to_owned();
    let mut expected = vec![format!("GET {OPENID}")];
    expected.extend(std::iter::repeat_n(revoke, 5));
    assert_eq!(paths(&mut server), expected);
}

#[tokio::test]
async fn rfc8414_3_1_the_document_before_the_path_is_requested_next() {
    // OpenID Connect Discovery defines no revocation endpoint, so its document may lack one.
    for openid_exists in [false, true] {
        let (mut server, issuer) = issuer(move |path, issuer, _| match path {
            OAUTH => Some(metadata(issuer, &format!("{issuer}/revoke"))),
            OPENID if openid_exists => Some(format!(r#"{{"issuer":"{issuer}"}}"#)),
            _ => None,
        })
        .await;
        let client = client(&issuer);
        tell(&client, "abc");
        assert!(client.shutdown(LONG).await.is_complete());
        assert_eq!(
            paths(&mut server),
            [
                format!("GET {OPENID}"),
                format!("GET {OAUTH}"),
                "POST /realms/shop/revoke".to_owned(),
            ]
        );
    }
}

#[tokio::test]
async fn rfc8414_3_3_no_token_is_sent_by_another_issuers_document() {
    for (wrong, endpoint) in [
        ("https://evil.example", "/revoke"),
        ("", "/revoke"),
        ("same", "http://evil.example/revoke"),
        ("same", "\\n"),
    ] {
        let (mut server, issuer) = issuer(move |path, issuer, _| {
            let name = if wrong == "same" { issuer } else { wrong };
            let url = if endpoint == "/revoke" {
                format!("{issuer}/revoke")
            } else {
                endpoint.to_owned()
            };
            path.contains("well-known").then(|| metadata(name, &url))
        })
        .await;
        let client = client(&issuer);
        tell(&client, "abc");
        // Each attempt requests only the first document.
        for _ in 0..3 {
            let (head, _) = server.next().await;
            assert_eq!(head.uri.path(), OPENID);
        }
        assert_eq!(
            client.stats().last_failure,
            Some(DeliveryFailure::Discovery)
        );
        assert_eq!(client.stats().delivered, 0);
    }
}

#[tokio::test]
async fn missing_metadata_is_retried() {
    // Both documents are missing twice; then the first one exists.
    let (_server, issuer) = issuer(|path, issuer, number| {
        (path == OPENID && number >= 4).then(|| metadata(issuer, &format!("{issuer}/revoke")))
    })
    .await;
    let client = client(&issuer);
    tell(&client, "abc");
    let told = client.shutdown(LONG).await;
    assert_eq!((told.delivered, told.queued), (1, 0));
}

#[tokio::test]
async fn a_moved_endpoint_is_discovered_again() {
    let (mut server, issuer) = issuer(|path, issuer, number| {
        let place = if number == 0 { "gone" } else { "revoke" };
        (path == OPENID).then(|| metadata(issuer, &format!("{issuer}/{place}")))
    })
    .await;
    let client = RevocationClient::discover(issuer)
        .client_credentials("shop", SECRET)
        .http_client(HttpsClient::new().unwrap())
        .slow_retry_interval(Duration::from_millis(1))
        .build()
        .unwrap();
    tell(&client, "abc");
    assert!(client.shutdown(LONG).await.is_complete());
    assert_eq!(
        paths(&mut server),
        [
            format!("GET {OPENID}"),
            "POST /realms/shop/gone".to_owned(),
            format!("GET {OPENID}"),
            "POST /realms/shop/revoke".to_owned(),
        ]
    );
    assert_eq!(
        client.stats().last_failure,
        Some(DeliveryFailure::Endpoint(StatusCode::NOT_FOUND))
    );
}

#[tokio::test]
async fn ready_discovers_the_endpoint_once() {
    let (mut server, issuer) = issuer(|path, issuer, _| {
        (path == OAUTH).then(|| metadata(issuer, &format!("{issuer}/revoke")))
    })
    .await;
    let client = client(&issuer);
    client.ready().await.unwrap();
    client.ready().await.unwrap();
    tell(&client, "abc");
    assert!(client.shutdown(LONG).await.is_complete());
    let expected = [
        format!("GET {OPENID}"),
        format!("GET {OAUTH}"),
        "POST /realms/shop/revoke".to_owned(),
    ];
    assert_eq!(paths(&mut server), expected);
}

#[tokio::test]
async fn ready_reports_why_there_is_no_endpoint() {
    let (_server, issuer) = issuer(|_, _, _| None).await;
    let error = client(&issuer).ready().await.unwrap_err();
    assert_eq!(error.to_string(), "the revocation client is not ready");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        source,
        "the status of the response is 404 Not Found, not 200"
    );
}
