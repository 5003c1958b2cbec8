//! An upgrade that nobody watches does not leave the layer.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_core::{Reason, Rejection};
use tower_revoke_streams::{TokenLifetime, TokenLifetimeLayer};
use tower_revoke_testing::ScriptedBody;

use crate::support::World;

async fn upgrade(method: Method, status: u16, takes: bool) -> StatusCode {
    let world = World::new();
    let mut request = world.request();
    if method == Method::GET {
        let headers = request.headers_mut();
        headers.insert("upgrade", "websocket".parse().unwrap());
    }
    *request.method_mut() = method;
    let handler = service_fn(async |request: Request<Empty<Bytes>>| {
        if takes {
            drop(TokenLifetime::of(request.extensions()).unwrap());
        }
        let response = Response::builder().status(status);
        Ok::<_, Infallible>(response.body(ScriptedBody::new()).unwrap())
    });
    let service = TokenLifetimeLayer::new().layer(handler);
    let response = service.oneshot(request).await.unwrap();
    let rejection = response.extensions().get::<Rejection>();
    let reason = rejection.map(Rejection::reason);
    assert_eq!(reason.is_some(), reason == Some(Reason::Misconfigured));
    response.status()
}

#[tokio::test]
async fn an_upgrade_leaves_only_with_the_lifetime_taken() {
    for (method, status, takes, expected) in [
        (Method::GET, 101, true, 101),
        (Method::GET, 101, false, 500),
        (Method::GET, 200, false, 200),
        (Method::GET, 426, false, 426),
        (Method::CONNECT, 200, true, 200),
        (Method::CONNECT, 200, false, 500),
        (Method::CONNECT, 204, false, 500),
        (Method::CONNECT, 403, false, 403),
        // Nobody asked for it, so nobody can have been offered the lifetime.
        (Method::POST, 101, false, 500),
    ] {
        let got = upgrade(method.clone(), status, takes).await;
        assert_eq!(got.as_u16(), expected, "{method} {status} {takes}");
    }
}

/// The inner layer's lifetime counts for the outer one too.
#[tokio::test]
async fn an_upgrade_leaves_two_layers_with_one_lifetime() {
    for (takes, expected) in [(true, 101), (false, 500)] {
        let mut request = World::new().request();
        let headers = request.headers_mut();
        headers.insert("upgrade", "websocket".parse().unwrap());
        let handler = service_fn(async |request: Request<Empty<Bytes>>| {
            if takes {
                drop(TokenLifetime::of(request.extensions()).unwrap());
            }
            let response = Response::builder().status(101);
            Ok::<_, Infallible>(response.body(ScriptedBody::new()).unwrap())
        });
        let inner = TokenLifetimeLayer::new().layer(handler);
        let service = TokenLifetimeLayer::new().layer(inner);
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), expected, "{takes}");
    }
}
