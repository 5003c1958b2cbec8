//! Tests the inbound layers.

use std::convert::Infallible;

use http::{HeaderValue, Method, Request, Response, Version, header::AUTHORIZATION};
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_core::{Reason, Rejection, RejectionFormat};
use tower_revoke_preserve::{OriginalAuthorization, PreserveAuthorizationLayer};

const BASIC: &str = "Basic YTpi";

/// Responds with what was preserved.
async fn kept(request: Request<()>) -> Result<Response<Option<OriginalAuthorization>>, Infallible> {
    Ok(Response::new(request.extensions().get().cloned()))
}

fn request(headers: &[(&str, &str)]) -> Request<()> {
    let request = headers
        .iter()
        .fold(Request::get("/"), |request, (name, value)| {
            request.header(*name, *value)
        });
    request.body(()).expect("a request")
}

async fn server(headers: &[(&str, &str)]) -> Option<HeaderValue> {
    let service = PreserveAuthorizationLayer::new().layer(service_fn(kept));
    let answer = service.oneshot(request(headers)).await.expect("no error");
    answer.into_body().map(|kept| kept.value().clone())
}

/// Returns what was preserved, or why the request was rejected.
async fn proxy(headers: &[(&str, &str)]) -> Result<String, Option<Reason>> {
    let service = PreserveAuthorizationLayer::new()
        .for_proxy()
        .layer(service_fn(kept));
    let answer = service.oneshot(request(headers)).await.expect("no error");
    match answer.status().as_u16() {
        200 => Ok(format!("{:?}", answer.body())),
        _ => Err(answer.extensions().get().map(Rejection::reason)),
    }
}

#[tokio::test]
async fn the_value_is_kept_unchanged_whatever_the_scheme() {
    for value in ["Bearer abc", "bEARER  abc", BASIC, "", "nonsense, more"] {
        let kept = server(&[("authorization", value)]).await.unwrap();
        assert_eq!(kept, value);
        assert!(kept.is_sensitive());
    }
}

#[tokio::test]
async fn the_value_survives_an_inner_layer_that_removes_the_header() {
    let take = tower::util::MapRequestLayer::new(|mut request: Request<()>| {
        request.headers_mut().remove(AUTHORIZATION);
        request
    });
    let layer = PreserveAuthorizationLayer::new();
    let service = layer.layer(take.layer(service_fn(kept)));
    let answer = service.oneshot(request(&[("authorization", BASIC)])).await;
    assert_eq!(answer.unwrap().body().as_ref().unwrap().value(), BASIC);
}

#[tokio::test]
async fn the_outermost_layer_keeps_the_original() {
    let layer = PreserveAuthorizationLayer::new();
    let change = tower::util::MapRequestLayer::new(|mut request: Request<()>| {
        let other = HeaderValue::from_static("Bearer other");
        request.headers_mut().insert(AUTHORIZATION, other);
        request
    });
    let service = layer.layer(change.layer(layer.layer(service_fn(kept))));
    let answer = service.oneshot(request(&[("authorization", BASIC)])).await;
    assert_eq!(answer.unwrap().body().as_ref().unwrap().value(), BASIC);
}

#[tokio::test]
async fn neither_zero_nor_two_headers_are_kept() {
    assert!(server(&[]).await.is_none());
    let twice = [("authorization", "Bearer a"), ("authorization", "Bearer a")];
    assert!(server(&twice).await.is_none());
}

#[tokio::test]
async fn rfc9110_11_6_2_the_header_itself_is_unchanged() {
    let inner = service_fn(async |request: Request<()>| {
        Ok::<_, Infallible>(Response::new(request.headers()["authorization"].clone()))
    });
    let service = PreserveAuthorizationLayer::new().layer(inner);
    let answer = service.oneshot(request(&[("authorization", BASIC)])).await;
    assert_eq!(answer.unwrap().body(), BASIC);
}

#[tokio::test]
async fn debug_shows_no_credentials() {
    let kept = OriginalAuthorization::new(HeaderValue::from_static("Bearer secret"));
    assert!(!format!("{kept:?}").contains("secret"));
}

/// TRAPS 19.
#[tokio::test]
async fn trap_19_a_server_ignores_a_connection_that_names_authorization() {
    for listing in ["authorization", "close, Authorization"] {
        let headers = [("connection", listing), ("authorization", BASIC)];
        assert_eq!(server(&headers).await.unwrap(), BASIC);
    }
}

/// TRAPS 19.
#[tokio::test]
async fn trap_19_a_proxy_rejects_a_connection_that_names_authorization() {
    for listing in [
        "authorization",
        "AUTHORIZATION",
        "close ,\tAuthorization , te",
    ] {
        let headers = [("connection", listing), ("authorization", BASIC)];
        let rejected = Err(Some(Reason::NamedInConnection));
        assert_eq!(proxy(&headers).await, rejected, "{listing}");
    }
    let second = [("connection", "te"), ("connection", "authorization")];
    assert!(proxy(&second).await.is_err(), "even without credentials");
}

#[tokio::test]
async fn rfc9110_7_6_1_a_proxy_accepts_other_connection_options() {
    for listing in [
        "close",
        "keep-alive, te",
        "proxy-authorization",
        "x-authorization",
    ] {
        let headers = [("connection", listing), ("authorization", BASIC)];
        assert!(proxy(&headers).await.unwrap().contains("Sensitive"));
    }
}

#[tokio::test]
async fn a_proxys_rejection_is_a_400_in_the_configured_format() {
    let layer = PreserveAuthorizationLayer::new()
        .for_proxy()
        .rejection_format(RejectionFormat::default().realm("edge"));
    let headers = [("connection", "authorization")];
    let answer = layer.layer(service_fn(kept)).oneshot(request(&headers));
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 400);
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("Bearer realm=\"edge\", error=\"invalid_request\""));

    let grpc = [
        ("connection", "authorization"),
        ("content-type", "application/grpc"),
    ];
    let mut grpc = request(&grpc);
    *grpc.method_mut() = Method::POST;
    *grpc.version_mut() = Version::HTTP_2;
    let answer = layer.layer(service_fn(kept)).oneshot(grpc);
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["grpc-status"], "16");
}

/// TRAPS 46.
#[tokio::test]
async fn trap_46_a_proxy_rejects_a_connection_that_names_upstream_headers() {
    for listing in [
        "cookie",
        "close, COOKIE",
        "host",
        "content-length",
        "Content-Type",
        "content-anything",
        "te,\tContent-Encoding ,close",
    ] {
        assert!(
            proxy(&[("connection", listing)]).await.is_err(),
            "{listing}"
        );
    }
    for listing in [
        "cookies",
        "x-content-type",
        "hosts",
        "contents",
        "proxy-authorization",
    ] {
        assert!(proxy(&[("connection", listing)]).await.is_ok(), "{listing}");
    }
}
