//! Tests by clause of RFC 6750.

use std::time::Duration;

use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_revoke_core::{Authenticated, Rejection};

use super::support::*;

#[tokio::test]
async fn rfc6750_2_1_the_header_is_read() {
    let answer = call(&layer(), bearer("ann")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(caller(&answer).unwrap().subject(), Some("ann"));
}

#[tokio::test]
async fn rfc6750_2_more_than_one_method_is_an_invalid_request() {
    let layer = layer()
        .query()
        .websocket_protocol("bearer.")
        .cookie("token");
    let by_header = |uri| get(uri).header("authorization", "Bearer ann");
    let websocket = |builder: http::request::Builder| {
        builder
            .header("upgrade", "websocket")
            .header("sec-websocket-protocol", "chat, bearer.ann")
    };
    for request in [
        by_header("/?access_token=ann"),
        websocket(by_header("/")),
        websocket(get("/?access_token=ann")),
        get("/?access_token=ann").header("authorization", "Bearer"),
        get("/?access_token=").header("authorization", "Bearer ann"),
    ] {
        let answer = call(&layer, build(request)).await;
        assert_eq!(answer.status(), 400);
        assert!(challenge(&answer).contains("error=\"invalid_request\""));
    }
}

#[tokio::test]
async fn rfc6750_2_1_two_authorization_headers_are_an_invalid_request() {
    for second in ["Bearer ann", "Bearer other", "Basic YTpi"] {
        let request = get("/").header("authorization", "Bearer ann");
        let answer = call(&layer(), build(request.header("authorization", second))).await;
        assert_eq!(answer.status(), 400);
        assert!(challenge(&answer).contains("error=\"invalid_request\""));
    }
}

#[tokio::test]
async fn rfc6750_2_1_a_malformed_header_is_an_invalid_request() {
    for value in ["Bearer", "Bearer ", "Bearer a b", "Bearer ann, Bearer ann"] {
        let answer = call(&layer(), with("authorization", value)).await;
        assert_eq!(answer.status(), 400, "{value}");
        assert!(challenge(&answer).contains("error=\"invalid_request\""));
    }
}

#[tokio::test]
async fn rfc6750_2_2_the_form_body_is_not_a_source() {
    let layer = layer()
        .optional()
        .query()
        .cookie("token")
        .websocket_protocol("bearer.");
    let inner = tower::service_fn(async |request: http::Request<String>| {
        let nobody = request.extensions().get::<Authenticated>().is_none();
        let body = request.into_body();
        Ok::<_, std::convert::Infallible>(http::Response::new((nobody, body)))
    });
    let request = http::Request::post("/")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("access_token=ann".to_owned())
        .unwrap();
    let answer = layer.layer(inner).oneshot(request).await.unwrap();
    let body = format!("{:?}", answer.body());
    assert!(body.contains("(true, \"access_token=ann\")"), "{body}");
}

#[tokio::test]
async fn rfc6750_2_3_the_query_is_read_only_if_enabled() {
    let request = || build(get("/?access_token=ann"));
    assert_eq!(call(&layer(), request()).await.status(), 401);
    assert_eq!(call(&layer().query(), request()).await.status(), 200);
}

#[tokio::test]
async fn rfc6750_2_3_answers_to_a_token_in_the_query_are_private() {
    let layer = layer().query();
    for (said, status, expected) in [
        ("", "200", "private"),
        ("max-age=60", "200", "private, max-age=60"),
        ("Public, max-age=60", "206", "private, max-age=60"),
        ("No-Store", "200", "No-Store"),
        ("private, max-age=60", "200", "private, max-age=60"),
        ("no-cache=\"a, b\"", "200", "private, no-cache=\"a, b\""),
        ("public", "404", "public"),
        ("public", "302", "public"),
    ] {
        let request = get("/?access_token=ann").header("x-status", status);
        let request = match said {
            "" => request,
            said => request.header("x-cache", said),
        };
        let answer = call(&layer, build(request)).await;
        assert_eq!(answer.headers()["cache-control"], expected, "{said}");
    }
    let by_header = call(&layer, bearer("ann")).await;
    assert!(!by_header.headers().contains_key("cache-control"));
}

#[tokio::test]
async fn rfc6750_3_a_rejection_carries_a_challenge_with_a_realm() {
    for request in [
        bearer("bad"),
        with("x", "y"),
        with("authorization", "Bearer"),
    ] {
        let answer = call(&layer().realm("orders"), request).await;
        assert!(challenge(&answer).starts_with("Bearer realm=\"orders\""));
    }
}

#[tokio::test]
async fn rfc6750_3_each_parameter_occurs_once_with_allowed_characters() {
    let layer = layer().scope("orders:write").realm("a\"b\\c\u{e9}");
    let answer = call(&layer, bearer("ann")).await;
    assert_eq!(
        answer.headers().get_all("www-authenticate").iter().count(),
        1
    );
    let challenge = challenge(&answer);
    for parameter in ["realm=", "error=", "error_description=", "scope="] {
        assert_eq!(challenge.matches(&format!(" {parameter}")).count(), 1);
    }
    assert!(
        challenge.starts_with(r#"Bearer realm="a\"b\\c?""#),
        "{challenge}"
    );
}

#[tokio::test]
async fn rfc6750_3_1_no_credentials_no_error_code() {
    let layer = layer().cookie("token").query();
    let none = build(get("/"));
    for request in [
        none,
        with("authorization", "Basic YTpi"),
        with("authorization", ""),
    ] {
        let answer = call(&layer, request).await;
        assert_eq!(answer.status(), 401);
        assert_eq!(challenge(&answer), "Bearer realm=\"api\"");
    }
}

#[tokio::test]
async fn rfc6750_3_1_every_defect_of_a_token_is_invalid_token() {
    for (token, expected) in ALL_REASONS {
        let answer = call(&layer(), bearer(token)).await;
        assert_eq!(answer.status(), 401);
        assert!(
            challenge(&answer).contains("error=\"invalid_token\""),
            "{token}"
        );
        assert_eq!(reason(&answer), Some(expected));
        assert!(seen(&answer).is_none());
    }
}

#[tokio::test]
async fn rfc6750_3_1_insufficient_scope_names_the_scope() {
    let answer = call(&layer().scope("orders:write"), bearer("ann")).await;
    assert_eq!(answer.status(), 403);
    assert!(challenge(&answer).contains("error=\"insufficient_scope\""));
    assert!(challenge(&answer).ends_with("scope=\"orders:write\""));
}

#[tokio::test]
async fn a_503_has_a_retry_after_and_no_www_authenticate() {
    let layer = layer().retry_after(Duration::from_secs(7));
    let answer = call(&layer, bearer("unavailable")).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "7");
    assert!(!answer.headers().contains_key("www-authenticate"));
}

#[tokio::test]
async fn every_rejection_has_cache_control_no_store() {
    for request in [bearer("bad"), build(get("/")), bearer("unavailable")] {
        let answer = call(&layer(), request).await;
        assert_eq!(answer.headers()["cache-control"], "no-store");
    }
}

async fn body(answer: Answer) -> String {
    let whole = answer.into_body().collect().await.expect("a body");
    String::from_utf8(whole.to_bytes().into()).expect("text")
}

#[tokio::test]
async fn the_body_can_be_any_value() {
    let layer = layer().rejection_json(|rejection| {
        (
            rejection.reason().label(),
            rejection.reason().status().as_u16(),
        )
    });
    let answer = call(&layer, bearer("bad")).await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert!(challenge(&answer).contains("invalid_token"));
    assert_eq!(body(answer).await, r#"["bad_signature",401]"#);
}

#[tokio::test]
async fn a_value_that_is_no_json_leaves_the_default_body() {
    let no_key = || std::collections::HashMap::from([([0_u8], 1)]);
    let answer = call(&layer().rejection_json(move |_| no_key()), bearer("bad")).await;
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert!(body(answer).await.contains("bad_signature"));
}

#[tokio::test]
async fn rejection_settings_can_be_set_in_any_order() {
    let secs = Duration::from_secs;
    let no = |_: &Rejection| (http::HeaderValue::from_static("text/plain"), "no".into());
    for layer in [
        layer()
            .realm("elsewhere")
            .retry_after(secs(7))
            .rejection_body(no),
        layer()
            .rejection_body(no)
            .retry_after(secs(7))
            .realm("elsewhere"),
    ] {
        let answer = call(&layer, bearer("bad")).await;
        assert!(challenge(&answer).starts_with("Bearer realm=\"elsewhere\""));
        assert_eq!(answer.headers()["content-type"], "text/plain");
        let answer = call(&layer, bearer("unavailable")).await;
        assert_eq!(answer.headers()["retry-after"], "7");
        assert_eq!(answer.headers()["content-type"], "text/plain");
    }
}
