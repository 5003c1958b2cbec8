//! Tests the other sources of a token, and their precedence.

use http::{Method, Request};

use super::support::*;

#[tokio::test]
async fn inner_services_see_no_token_in_the_query() {
    let uri = "/orders?a=%20+&access_token=ann&b==&&c";
    let answer = call(&layer().query(), build(get(uri))).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(seen(&answer).unwrap().uri, "/orders?a=%20+&b==&&c");
}

#[tokio::test]
async fn inner_services_see_no_bad_token_in_the_query_either() {
    for uri in [
        "/?access_token=bad",
        "/?access_token=a&access_token=b",
        "/?access_token=",
    ] {
        let answer = call(&layer().query().observe(), build(get(uri))).await;
        assert_eq!(seen(&answer).unwrap().uri, "/");
    }
}

#[tokio::test]
async fn the_query_twice_is_rejected() {
    for uri in [
        "/?access_token=ann&access_token=ann",
        "/?access_token=ann&%61ccess_token=b",
    ] {
        assert_eq!(call(&layer().query(), build(get(uri))).await.status(), 400);
    }
}

fn websocket(protocols: &str) -> Request<()> {
    let request = get("/").header("connection", "upgrade");
    let request = request.header("upgrade", "websocket");
    build(request.header("sec-websocket-protocol", protocols))
}

#[tokio::test]
async fn a_websocket_sends_its_token_as_a_subprotocol() {
    let layer = layer().websocket_protocol("bearer.");
    let answer = call(&layer, websocket("chat, bearer.ann, v2")).await;
    assert_eq!(answer.status(), 200);
    let headers = &seen(&answer).unwrap().headers;
    assert_eq!(headers["sec-websocket-protocol"], "chat, v2");
    let answer = call(&layer, websocket("chat, bearer.ann, bearer.ann")).await;
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn the_subprotocol_counts_only_if_enabled_and_on_a_websocket() {
    assert_eq!(call(&layer(), websocket("bearer.ann")).await.status(), 401);
    let layer = layer().websocket_protocol("bearer.");
    let mut request = websocket("bearer.ann");
    *request.method_mut() = Method::POST;
    assert_eq!(call(&layer, request).await.status(), 401);
}

#[tokio::test]
async fn a_cookie_is_read_only_if_enabled_and_marked_sensitive() {
    let request = || with("cookie", "x=1; token=ann");
    assert_eq!(call(&layer(), request()).await.status(), 401);
    let answer = call(&layer().cookie("token"), request()).await;
    assert_eq!(answer.status(), 200);
    assert!(seen(&answer).unwrap().headers["cookie"].is_sensitive());
}

#[tokio::test]
async fn a_cookie_counts_only_without_other_credentials() {
    let layer = layer().cookie("token").query();
    let ask = async |uri: &str, header: &str, cookie: &str| {
        let request = get(uri).header("cookie", format!("token={cookie}"));
        let request = match header {
            "" => request,
            header => request.header("authorization", header),
        };
        call(&layer, build(request)).await.status().as_u16()
    };
    assert_eq!(ask("/", "Bearer ann", "bad").await, 200);
    assert_eq!(ask("/", "Bearer bad", "ann").await, 401);
    assert_eq!(ask("/", "Bearer", "ann").await, 400);
    assert_eq!(ask("/?access_token=bad", "", "ann").await, 401);
    assert_eq!(ask("/", "Basic YTpi", "ann").await, 200);
    assert_eq!(ask("/", "", "bad").await, 401);
    assert_eq!(ask("/", "", "").await, 401);
    assert_eq!(ask("/", "Bearer ann", "bad; token=ann").await, 200);
    assert_eq!(ask("/", "Bearer bad", "bad; token=ann").await, 401);
}

#[tokio::test]
async fn every_value_of_two_authorization_headers_is_sensitive_when_it_passes() {
    let request = get("/").header("authorization", "Bearer ann");
    let request = build(request.header("authorization", "Bearer ann"));
    let answer = call(&layer().observe(), request).await;
    let mut values = seen(&answer)
        .unwrap()
        .headers
        .get_all("authorization")
        .iter();
    assert!(values.all(http::HeaderValue::is_sensitive));
}

#[tokio::test]
async fn other_headers_may_come_twice() {
    let request = get("/").header("authorization", "Bearer ann");
    let request = request.header("accept", "a/b").header("accept", "c/d");
    assert_eq!(call(&layer(), build(request)).await.status(), 200);
}
