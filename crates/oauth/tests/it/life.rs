//! Tests the client with and without a runtime, behind a layer, and that `Debug` output shows no
//! secret.

use std::{convert::Infallible, error::Error, future::pending, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tower::{ServiceBuilder, ServiceExt, service_fn, util::Either};
use tower_revoke_core::{
    Authenticated, BearerContext, BearerToken, Claims, Endpoint, RejectionFormat, RemoteRevocation,
    Revocations, TokenId, VerifiedToken,
};
use tower_revoke_http::HttpsClient;
use tower_revoke_list::RevocationList;
use tower_revoke_oauth::{
    CredentialsError, IntrospectionVerifier, IntrospectionVerifierError, RevocationClient,
    RevocationClientBuilder, RevocationClientError,
};
use tower_revoke_spend::{PendingRevocations, RevokeAfterResponseLayer, UseLimitLayer};

use crate::{
    support::{SECRET, Server, copy, member, reserve, rest, scripted, status, tell},
    timing::unreachable,
};

const LONG: Duration = Duration::from_secs(60);

static_assertions::assert_impl_all!(RevocationClient: Clone, Send, Sync, std::fmt::Debug);
static_assertions::assert_impl_all!(RevocationClientBuilder: Send, Sync, std::fmt::Debug);

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
}

#[test]
fn a_runtime_that_ends_loses_no_token() {
    let (client, mut tries) = scripted(async |n, _| {
        if n < 2 {
            pending::<()>().await;
        }
        Ok(status(200))
    });
    let client = client.max_concurrency(2).build().unwrap();
    let first = runtime();
    first.block_on(async {
        for n in 0..5 {
            tell(&client, &format!("token-{n}"));
        }
        tries.recv().await.unwrap();
        tries.recv().await.unwrap();
    });
    // Two in flight, three waiting, one slot reserved.
    let held = first.block_on(async { reserve(&client, "token-5").unwrap() });
    drop(first);
    held.send(copy("token-5")).now_or_never().unwrap();
    assert_eq!(client.stats().queued, 6);
    let told = runtime().block_on(client.shutdown(LONG));
    assert_eq!((told.delivered, told.queued), (6, 0));
}

#[test]
fn no_runtime_is_needed_to_reserve_and_to_send() {
    let (client, _tries) = scripted(async |_, _| Ok(status(200)));
    let client = client.build().unwrap();
    tell(&client, "abc");
    client.set_client_credentials("shop", "other").unwrap();
    assert_eq!(client.stats().queued, 1);
    let runtime = runtime();
    // The next call in a runtime also sends what was queued before.
    runtime.block_on(async {
        tell(&client, "def");
        assert!(client.shutdown(LONG).await.is_complete());
    });
    assert_eq!(client.stats().delivered, 2);
}

#[test]
fn a_slot_reserved_in_a_runtime_can_be_used_outside_of_it() {
    let (client, mut tries) = scripted(async |_, _| Ok(status(200)));
    let client = client.build().unwrap();
    let runtime = runtime();
    let slot = runtime.block_on(async { reserve(&client, "abc").unwrap() });
    slot.send(copy("abc")).now_or_never().unwrap();
    let seen = runtime.block_on(tries.recv()).unwrap();
    assert_eq!(seen.token, "abc");
}

#[tokio::test]
async fn a_token_that_is_spent_here_is_revoked_there() {
    let mut server = Server::start([status(200)]).await;
    let client = server.client().queue_capacity(2).build().unwrap();
    let list: Arc<dyn Revocations> = RevocationList::in_memory().into();
    let claims = json!({
        "iss": "https://id.example.com", "sub": "ann", "jti": "1", "exp": 4_000_000_000_u64,
    });
    let token = VerifiedToken::new(
        TokenId::of_jwt("https://id.example.com", "1"),
        Claims::from_value(claims).unwrap(),
        Duration::from_secs(30),
    );
    let token = Arc::new(token.with_revocations(list).unwrap());
    let call = || {
        let mut request = Request::new(());
        let presented = BearerToken::new("e30.e30.c2ln").unwrap();
        let extensions = request.extensions_mut();
        extensions.insert(BearerContext::new(
            Arc::new(RejectionFormat::default()),
            Some(presented),
        ));
        extensions.insert(Authenticated::new(token.clone()));
        let service = ServiceBuilder::new()
            .layer(UseLimitLayer::single().also_at(client.clone()))
            .service(service_fn(async |_: Request<()>| {
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
            }));
        async move { service.oneshot(request).await.unwrap() }
    };
    // Without a slot for the server, the call is rejected and the token stays valid.
    let held = ["abc", "def"].map(|token| reserve(&client, token).unwrap());
    assert_eq!(call().await.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(held);

    let answer = call().await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );
    let (_, body) = server.next().await;
    assert_eq!(member(&body, "token").as_deref(), Some("e30.e30.c2ln"));
    assert_eq!(call().await.status(), StatusCode::UNAUTHORIZED);
    let told = client.shutdown(LONG).await;
    assert_eq!((told.queued, client.stats().delivered), (0, 1));
    assert!(server.rest().is_empty());
}

/// TRAPS 42: a token takes one place of the queue, however often it is used, and a caller takes at
/// most half of them.
#[tokio::test(start_paused = true)]
async fn trap_42_a_token_takes_one_place_of_the_queue_and_a_caller_half_of_it() {
    let (client, mut tries) = scripted(async |n, _| match n {
        0..20 => Err(unreachable()),
        _ => Ok(status(200)),
    });
    let client = client.queue_capacity(4).build().unwrap();
    let list: Arc<dyn Revocations> = RevocationList::in_memory().into();
    let call =
        |layer: Either<UseLimitLayer, RevokeAfterResponseLayer>, subject: &str, jwt_id: &str| {
            let claims = json!({
                "iss": "https://id.example.com", "sub": subject, "jti": jwt_id,
            });
            let token = VerifiedToken::new(
                TokenId::of_jwt("https://id.example.com", jwt_id),
                Claims::from_value(claims).unwrap(),
                Duration::from_secs(30),
            );
            let token = Arc::new(token.with_revocations(list.clone()).unwrap());
            let mut request = Request::new(());
            let presented = BearerToken::new(jwt_id).unwrap();
            let extensions = request.extensions_mut();
            extensions.insert(BearerContext::new(
                Arc::new(RejectionFormat::default()),
                Some(presented),
            ));
            extensions.insert(Authenticated::new(token));
            let service = ServiceBuilder::new()
                .layer(match layer {
                    Either::Left(layer) => Either::Left(layer.also_at(client.clone())),
                    Either::Right(layer) => Either::Right(layer.also_at(client.clone())),
                })
                .service(service_fn(async |_: Request<()>| {
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
                }));
            async move {
                let response = service.oneshot(request).await.unwrap();
                let status = response.status().as_u16();
                response.into_body().collect().await.unwrap();
                status
            }
        };
    let slots = PendingRevocations::new(1);
    let revokes = RevokeAfterResponseLayer::new().pending_revocations(&slots);
    let first = call(Either::Right(revokes.clone()), "ann", "ann-1");
    let second = call(Either::Right(revokes), "ann", "ann-1");
    // Layers with clones of one server share what is pending, and so the only slot.
    assert_eq!(tokio::join!(first, second), (200, 200));
    for _ in 0..100 {
        let layer = Either::Right(RevokeAfterResponseLayer::new());
        assert_eq!(call(layer, "ann", "ann-1").await, 200);
    }
    assert_eq!(client.stats().queued, 1);
    assert_eq!(
        call(Either::Left(UseLimitLayer::single()), "ann", "ann-2").await,
        200
    );
    assert_eq!(
        call(Either::Left(UseLimitLayer::single()), "ann", "ann-3").await,
        503
    );
    assert_eq!(
        call(Either::Left(UseLimitLayer::single()), "bob", "bob-1").await,
        200
    );
    assert_eq!(client.stats().queued, 3);

    let told = client.shutdown(60 * LONG).await;
    assert_eq!((told.delivered, told.queued), (3, 0));
    assert_eq!(
        call(Either::Left(UseLimitLayer::single()), "ann", "ann-3").await,
        200
    );
    let mut told: Vec<_> = rest(&mut tries)
        .into_iter()
        .skip(20)
        .map(|seen| seen.token)
        .collect();
    told.sort();
    assert_eq!(told, ["ann-1", "ann-2", "bob-1"]);
}

fn builder(id: &str, secret: &str) -> RevocationClientBuilder {
    RevocationClient::builder(Endpoint::new("https://id.example.com/revoke?key=k3y").unwrap())
        .client_credentials(id, secret)
}

#[test]
fn missing_settings_fail_the_build() {
    let client = HttpsClient::new().unwrap();
    let error = |builder: RevocationClientBuilder| builder.build().unwrap_err();
    assert!(matches!(
        error(builder("", SECRET).http_client(client.clone())),
        RevocationClientError::Credentials(CredentialsError::EmptyId)
    ));
    assert!(matches!(
        error(builder("shop", "").http_client(client.clone())),
        RevocationClientError::Credentials(CredentialsError::EmptySecret)
    ));
    let endpoint = Endpoint::new("https://id.example.com/revoke").unwrap();
    assert!(matches!(
        error(RevocationClient::builder(endpoint).http_client(client.clone())),
        RevocationClientError::MissingCredentials
    ));
    for issuer in [
        "http://id.example.com",
        "id.example.com",
        "https://a.example/?x",
    ] {
        let server = RevocationClient::discover(issuer)
            .client_credentials("shop", SECRET)
            .http_client(client.clone());
        let error = error(server);
        assert!(
            matches!(error, RevocationClientError::Issuer(_)),
            "{issuer}"
        );
        assert!(error.source().is_some());
    }
    assert!(builder("shop", SECRET).http_client(client).build().is_ok());
}

/// With the feature `https` there is a default client, without it the build says what is missing.
#[test]
fn an_http_client_is_optional_where_there_is_a_default_one() {
    let client = builder("shop", SECRET).build();
    let tokens = IntrospectionVerifier::discover("https://id.example.com")
        .client_credentials("shop", SECRET)
        .audience("orders")
        .without_revocations()
        .build();
    if cfg!(feature = "https") {
        assert!(client.is_ok() && tokens.is_ok());
        return;
    }
    assert!(matches!(
        client.unwrap_err(),
        RevocationClientError::MissingHttpClient
    ));
    assert!(matches!(
        tokens.unwrap_err(),
        IntrospectionVerifierError::MissingHttpClient
    ));
}

#[test]
fn a_setting_out_of_bounds_fails_the_build_with_its_value() {
    let start = || builder("shop", SECRET).http_client(HttpsClient::new().unwrap());
    let second = Duration::from_secs(1);
    for (builder, expected) in [
        (
            start().queue_capacity(0),
            "queue_capacity is 0; it must be at least 1",
        ),
        (
            start().max_concurrency(0),
            "max_concurrency is 0; it must be at least 1",
        ),
        (
            start().request_timeout(Duration::ZERO),
            "request_timeout is 0ns; it must be longer than zero and at most 31536000s",
        ),
        (
            start().slow_retry_interval(Duration::from_secs(31_536_001)),
            "slow_retry_interval is 31536001s; it must be longer than zero and at most 31536000s",
        ),
        (
            start().retry_timeout(Duration::MAX),
            "retry_timeout is 18446744073709551615.999999999s; it must be longer than zero and at \
             most 31536000s",
        ),
        (
            start().request_timeout(2 * second).retry_timeout(second),
            "request_timeout is 2s, longer than retry_timeout, which is 1s",
        ),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), expected);
    }
    let year = Duration::from_secs(31_536_000);
    let longest = start().retry_timeout(year).request_timeout(year);
    assert!(longest.slow_retry_interval(year).build().is_ok());
}

#[test]
fn no_debug_output_shows_a_secret_or_a_token() {
    let building = builder("shop", SECRET).http_client(HttpsClient::new().unwrap());
    let shown = format!("{building:?}");
    assert!(
        shown.contains("id.example.com") && !shown.contains(SECRET),
        "{shown}"
    );
    let server = building.build().unwrap();
    tell(&server, "the-very-token");
    let remote: Arc<dyn RemoteRevocation> = server.clone().into();
    let slot = reserve(&server, "abc").unwrap();
    let shown = format!(
        "{server:?} {server:#?} {remote:?} {slot:?} {:?}",
        server.stats()
    );
    assert!(shown.contains("id.example.com"), "{shown}");
    for secret in [SECRET, "the-very-token", "k3y", "c2hvcDp"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
