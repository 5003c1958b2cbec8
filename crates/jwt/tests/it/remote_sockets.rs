//! Tests fetched keys over real sockets.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tower_revoke_core::{Clock, DiscoveryError, Endpoint, MetadataFetchError, Reason};
use tower_revoke_http::HttpsClient;
use tower_revoke_jwt::{JwtVerifier, JwtVerifierBuilder, KeyFetchError, KeyStats};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use crate::support::{rejection, verify};

#[derive(Clone)]
enum Page {
    Json(String),
    Status(u16),
    RetryAfter,
    Redirect(&'static str),
    Garbage,
    Never,
    /// A body of 100 MB.
    Huge,
    /// Responds with 304 to a request with this ETag.
    Tagged(String),
}

#[derive(Clone)]
struct Site {
    pages: Arc<Mutex<HashMap<String, Page>>>,
    asked: Arc<watch::Sender<Vec<(String, u16)>>>,
}

impl Site {
    fn new() -> Self {
        Self {
            pages: Arc::default(),
            asked: Arc::new(watch::Sender::default()),
        }
    }

    fn put(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    fn serve(&self, listener: TcpListener) -> JoinHandle<()> {
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
    }

    fn asked(&self) -> Vec<(String, u16)> {
        self.asked.borrow().clone()
    }

    async fn asked_times(&self, times: usize) {
        let mut asked = self.asked.subscribe();
        asked.wait_for(|asked| asked.len() >= times).await.unwrap();
    }
}

async fn answer(State(site): State<Site>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let page = site.pages.lock().unwrap().get(&path).cloned();
    let tag = request.headers().get("if-none-match");
    let response = match page {
        None => Response::builder()
            .status(404)
            .body(Body::from("none"))
            .unwrap(),
        Some(Page::Json(json)) => ([("content-type", "application/json")], json).into_response(),
        Some(Page::Status(status)) => Response::builder()
            .status(status)
            .body(Body::empty())
            .unwrap(),
        Some(Page::RetryAfter) => Response::builder()
            .status(503)
            .header("retry-after", "1")
            .body(Body::empty())
            .unwrap(),
        Some(Page::Redirect(to)) => Response::builder()
            .status(302)
            .header("location", to)
            .body(Body::empty())
            .unwrap(),
        Some(Page::Garbage) => "<html>welcome</html>".into_response(),
        Some(Page::Never) => {
            log(&site, path, 0);
            return std::future::pending().await;
        }
        Some(Page::Huge) => {
            let block = || Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 1 << 16]));
            Body::from_stream(stream::repeat_with(block).take(1_600)).into_response()
        }
        Some(Page::Tagged(_)) if tag.is_some_and(|tag| tag == "\"one\"") => Response::builder()
            .status(304)
            .header("etag", "\"one\"")
            .body(Body::empty())
            .unwrap(),
        Some(Page::Tagged(json)) => ([("etag", "\"one\"")], json).into_response(),
    };
    log(&site, path, response.status().as_u16());
    response
}

fn log(site: &Site, path: String, status: u16) {
    site.asked.send_modify(|asked| asked.push((path, status)));
}

struct Setup {
    site: Site,
    server: JoinHandle<()>,
    address: SocketAddr,
    issuer: TestIssuer,
}

impl Setup {
    /// Creates an issuer whose URL ends in `path`.
    async fn new(path: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let site = Site::new();
        let issuer = TestIssuer::with(format!("http://{address}{path}"), TestAlgorithm::EdDSA);
        site.put("/keys", Page::Json(issuer.jwks().to_string()));
        Self {
            server: site.serve(listener),
            site,
            address,
            issuer,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn metadata(&self, issuer: &str) -> Page {
        Page::Json(json!({ "issuer": issuer, "jwks_uri": self.url("/keys") }).to_string())
    }

    fn builder(&self) -> JwtVerifierBuilder {
        JwtVerifier::issuer(self.issuer.issuer())
            .audience("orders")
            .http_client(HttpsClient::new().unwrap())
            .without_revocations()
    }

    fn at_url(&self) -> JwtVerifierBuilder {
        self.builder()
            .jwks_url(Endpoint::new(&self.url("/keys")).unwrap())
    }

    fn discovered(&self) -> JwtVerifier {
        self.builder().discover().build().unwrap()
    }

    fn paths(&self) -> Vec<String> {
        self.site
            .asked()
            .into_iter()
            .map(|(path, _)| path)
            .collect()
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn stats(tokens: &JwtVerifier) -> KeyStats {
    tokens.key_stats().remove(0)
}

/// Returns the error of the only fetch so far.
async fn failure(tokens: &JwtVerifier) -> String {
    let error = tokens.ready().await.unwrap_err();
    format!(
        "{:?}",
        crate::support::keys_unavailable(&error).error().unwrap()
    )
}

#[tokio::test]
async fn keys_come_from_a_url() {
    let setup = Setup::new("").await;
    let tokens = setup.at_url().build().unwrap();
    assert!(setup.paths().is_empty());
    verify(&tokens, &setup.issuer.token().sign()).await.unwrap();
    assert_eq!(setup.paths(), ["/keys"]);
}

#[cfg(feature = "https")]
#[tokio::test]
async fn the_issuer_is_all_that_discovery_needs() {
    let setup = Setup::new("").await;
    let document = "/.well-known/openid-configuration";
    let metadata = setup.metadata(setup.issuer.issuer());
    setup.site.put(document, metadata);
    let tokens = JwtVerifier::discover(setup.issuer.issuer())
        .audience("orders")
        .without_revocations()
        .build()
        .unwrap();
    tokens.ready().await.unwrap();
    assert_eq!(setup.paths(), [document, "/keys"]);
    verify(&tokens, &setup.issuer.token().sign()).await.unwrap();
}

#[tokio::test]
async fn openid_discovery_is_tried_first() {
    for (path, document) in [
        ("", "/.well-known/openid-configuration"),
        ("/shop", "/shop/.well-known/openid-configuration"),
        ("/shop/", "/shop/.well-known/openid-configuration"),
    ] {
        let setup = Setup::new(path).await;
        setup
            .site
            .put(document, setup.metadata(setup.issuer.issuer()));
        let tokens = setup.discovered();
        verify(&tokens, &setup.issuer.token().sign()).await.unwrap();
        assert_eq!(setup.paths(), [document, "/keys"]);
    }
}

#[tokio::test]
async fn rfc8414_3_its_well_known_location_is_tried_next() {
    for (path, first, second) in [
        (
            "",
            "/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server",
        ),
        (
            "/a/b",
            "/a/b/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server/a/b",
        ),
    ] {
        for there in [None, Some(Page::Garbage), Some(Page::Status(500))] {
            let setup = Setup::new(path).await;
            if let Some(page) = there {
                setup.site.put(first, page);
            }
            setup
                .site
                .put(second, setup.metadata(setup.issuer.issuer()));
            let tokens = setup.discovered();
            verify(&tokens, &setup.issuer.token().sign()).await.unwrap();
            assert_eq!(setup.paths(), [first, second, "/keys"]);
        }
    }
}

#[tokio::test]
async fn rfc8414_3_3_metadata_of_another_issuer_is_not_used() {
    let setup = Setup::new("/shop").await;
    for other in ["https://evil.example", &setup.url("/shop/"), &setup.url("")] {
        let document = "/shop/.well-known/openid-configuration";
        setup.site.put(document, setup.metadata(other));
        // This document would be valid, but the mismatch in the first one is an error.
        let good = setup.metadata(setup.issuer.issuer());
        setup
            .site
            .put("/.well-known/oauth-authorization-server/shop", good);
        let tokens = setup.discovered();
        let error = tokens.ready().await.unwrap_err();
        assert!(
            matches!(
                crate::support::keys_unavailable(&error).error(),
                Some(KeyFetchError::Discovery(MetadataFetchError::Unusable(
                    DiscoveryError::OtherIssuer(named)
                ))) if named == other
            ),
            "{other}: {error:?}"
        );
    }
    assert!(!setup.paths().contains(&"/keys".to_owned()));
}

#[tokio::test]
async fn a_jwks_uri_in_plain_http_is_not_used() {
    let setup = Setup::new("").await;
    let issuer = setup.issuer.issuer();
    for (uri, said) in [
        (json!("http://id.example.com/keys"), "PlainHttp"),
        (json!("file:///etc/passwd"), "Endpoint"),
        (json!(7), "NotAUrl"),
        (json!(null), "Missing"),
    ] {
        let document = json!({ "issuer": issuer, "jwks_uri": uri }).to_string();
        setup
            .site
            .put("/.well-known/openid-configuration", Page::Json(document));
        let failure = failure(&setup.discovered()).await;
        assert!(failure.contains(said), "{uri}: {failure}");
    }
}

#[tokio::test]
async fn whatever_the_server_answers_instead_of_keys_is_a_503() {
    let setup = Setup::new("").await;
    let token = setup.issuer.token().sign();
    setup
        .site
        .put("/elsewhere", Page::Json(setup.issuer.jwks().to_string()));
    for (page, said) in [
        (Page::Status(500), "Status(500)"),
        (Page::RetryAfter, "Status(503)"),
        (Page::Status(204), "Status(204)"),
        (Page::Status(304), "Status(304)"),
        (Page::Redirect("/elsewhere"), "Redirect(302)"),
        (Page::Garbage, "NotAKeySet"),
        (Page::Json("{}".into()), "NotAKeySet"),
        (Page::Json(r#"{"keys":[]}"#.into()), "NoUsableKey"),
        (Page::Huge, "TooLarge(1048576)"),
    ] {
        setup.site.put("/keys", page);
        let tokens = setup.at_url().build().unwrap();
        assert_eq!(rejection(&tokens, &token).await, Reason::Unavailable);
        let failure = failure(&tokens).await;
        assert!(failure.contains(said), "{said}: {failure}");
    }
    assert!(!setup.paths().contains(&"/elsewhere".to_owned()));
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_503_within_the_limit() {
    let setup = Setup::new("").await;
    setup.site.put("/keys", Page::Never);
    let limit = Duration::from_millis(200);
    let tokens = setup.at_url().key_fetch_timeout(limit).build().unwrap();
    let token = setup.issuer.token().sign();
    assert_eq!(rejection(&tokens, &token).await, Reason::Unavailable);
    assert!(failure(&tokens).await.contains("TimedOut"));
}

#[tokio::test]
async fn keys_of_another_issuer_verify_nothing() {
    let setup = Setup::new("").await;
    let other = TestIssuer::with("https://other.example", TestAlgorithm::EdDSA);
    setup
        .site
        .put("/keys", Page::Json(other.jwks().to_string()));
    let tokens = setup.at_url().build().unwrap();
    let token = setup.issuer.token().sign();
    assert_eq!(rejection(&tokens, &token).await, Reason::UnknownKey);
    let theirs = other.token().sign();
    assert_eq!(rejection(&tokens, &theirs).await, Reason::WrongIssuer);
}

#[tokio::test]
async fn trap_14_a_server_that_comes_up_later_is_found_without_a_restart() {
    // A port without a listener, at first.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let issuer = TestIssuer::with(format!("http://{address}"), TestAlgorithm::EdDSA);
    let tokens = JwtVerifier::issuer(issuer.issuer())
        .audience("orders")
        .jwks_url(Endpoint::new(&format!("http://{address}/keys")).unwrap())
        .http_client(HttpsClient::new().unwrap())
        .without_revocations()
        .build()
        .unwrap();
    let token = issuer.token().sign();
    assert_eq!(rejection(&tokens, &token).await, Reason::Unavailable);
    let site = Site::new();
    site.put("/keys", Page::Json(issuer.jwks().to_string()));
    let server = site.serve(TcpListener::bind(address).await.unwrap());
    site.asked_times(1).await;
    while tokens.ready().await.is_err() {
        tokio::task::yield_now().await;
    }
    verify(&tokens, &token).await.unwrap();
    server.abort();
}

#[tokio::test]
async fn trap_14_a_server_that_goes_down_later_leaves_its_keys_valid() {
    let setup = Setup::new("").await;
    let pause = Duration::from_millis(20);
    let tokens = setup.at_url().key_refresh_interval(pause).build().unwrap();
    tokens.ready().await.unwrap();
    for page in [Page::Status(503), Page::Garbage, Page::Redirect("/")] {
        let before = stats(&tokens).failures;
        setup.site.put("/keys", page);
        while stats(&tokens).failures == before {
            let token = setup.issuer.token().sign();
            verify(&tokens, &token).await.unwrap();
            // A token that is verified from the cache doesn't yield to the server.
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn an_unchanged_set_is_answered_with_304_and_a_changed_one_is_read() {
    let setup = Setup::new("").await;
    let set = setup.issuer.jwks().to_string();
    setup.site.put("/keys", Page::Tagged(set));
    let pause = Duration::from_millis(5);
    let tokens = setup.at_url().key_refresh_interval(pause).build().unwrap();
    // Issued before any fetch, so that each fetch can prove that its key is gone.
    let a_minute_ago = Clock::system()
        .now()
        .saturating_sub(Duration::from_secs(60));
    let old = setup.issuer.token().issued_at(a_minute_ago).sign();
    verify(&tokens, &old).await.unwrap();
    setup.site.asked_times(4).await;
    let asked: Vec<_> = setup
        .site
        .asked()
        .iter()
        .map(|(_, status)| *status)
        .collect();
    assert_eq!(asked[..4], [200, 304, 304, 304]);
    assert_eq!(stats(&tokens).failures, 0);
    let kid = setup.issuer.key_id();
    setup.issuer.rotate();
    setup.issuer.withdraw(&kid);
    let set = setup.issuer.jwks().to_string();
    setup.site.put("/keys", Page::Json(set));
    let asked = setup.site.asked().len();
    // The second fetch from now on began after the change, and the third after the second was
    // applied.
    setup.site.asked_times(asked + 3).await;
    assert_eq!(rejection(&tokens, &old).await, Reason::UnknownKey);
    verify(&tokens, &setup.issuer.token().sign()).await.unwrap();
}

/// TRAPS 49: the issuer's key set is empty for a while.
#[tokio::test]
async fn trap_49_an_emptied_set_leaves_the_keys_valid_until_it_is_filled_again() {
    let setup = Setup::new("").await;
    let set = setup.issuer.jwks().to_string();
    let pause = Duration::from_millis(5);
    let tokens = setup.at_url().key_refresh_interval(pause).build().unwrap();
    tokens.ready().await.unwrap();
    setup
        .site
        .put("/keys", Page::Json(r#"{"keys":[]}"#.to_owned()));
    while stats(&tokens).unusable == 0 {
        tokio::task::yield_now().await;
    }
    verify(&tokens, &setup.issuer.token().sign()).await.unwrap();
    let other = TestIssuer::with(setup.issuer.issuer(), TestAlgorithm::EdDSA);
    let foreign = other.token().sign();
    assert_eq!(rejection(&tokens, &foreign).await, Reason::Unavailable);
    setup.site.put("/keys", Page::Json(set));
    let before = stats(&tokens);
    while stats(&tokens).fetches - stats(&tokens).failures == before.fetches - before.failures {
        tokio::task::yield_now().await;
    }
    verify(&tokens, &setup.issuer.token().sign()).await.unwrap();
}

#[tokio::test]
async fn moved_keys_are_discovered_again() {
    let setup = Setup::new("").await;
    let document = "/.well-known/openid-configuration";
    setup
        .site
        .put(document, setup.metadata(setup.issuer.issuer()));
    let tokens = setup
        .builder()
        .discover()
        .key_refresh_interval(Duration::from_millis(5))
        .key_refetch_interval(Duration::from_millis(1))
        .build()
        .unwrap();
    tokens.ready().await.unwrap();
    let moved = json!({ "issuer": setup.issuer.issuer(), "jwks_uri": setup.url("/moved") });
    setup.site.put(document, Page::Json(moved.to_string()));
    setup.site.put("/keys", Page::Status(404));
    setup.issuer.rotate();
    setup
        .site
        .put("/moved", Page::Json(setup.issuer.jwks().to_string()));
    let token = setup.issuer.token().sign();
    while verify(&tokens, &token).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(setup.paths().contains(&"/moved".to_owned()));
}

/// The same on several threads, with the system clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_threads_share_one_fetch() {
    let setup = Setup::new("").await;
    let tokens = setup.at_url().clock(Clock::system()).build().unwrap();
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let (tokens, token) = (tokens.clone(), setup.issuer.token().sign());
            tokio::spawn(async move { verify(&tokens, &token).await.is_ok() })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap());
    }
    assert_eq!(setup.paths(), ["/keys"]);
}
