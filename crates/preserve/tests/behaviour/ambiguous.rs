//! What a proxy and its upstream could understand in two ways never gets to the inner service.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_preserve::RefuseAmbiguousLayer;

async fn status(request: Request<()>) -> StatusCode {
    let inner = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = RefuseAmbiguousLayer::new().layer(inner);
    service.oneshot(request).await.expect("no error").status()
}

fn request(version: Version, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::get(uri).version(version);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

#[tokio::test]
async fn rfc9112_3_2_a_request_names_one_host() {
    for (version, uri, headers, expected) in [
        (Version::HTTP_11, "/", &[("host", "a")][..], 200),
        (Version::HTTP_11, "/", &[("host", "")], 200),
        (Version::HTTP_11, "/", &[], 400),
        (Version::HTTP_11, "/", &[("host", "a"), ("host", "a")], 400),
        (Version::HTTP_11, "http://a/", &[("host", "A")], 200),
        (Version::HTTP_11, "http://a/", &[("host", "b")], 400),
        (Version::HTTP_11, "http://a:81/", &[("host", "a")], 400),
        (Version::HTTP_11, "http://b@a/", &[("host", "b")], 400),
        (Version::HTTP_11, "http://a/", &[], 400),
        (Version::HTTP_10, "/", &[], 200),
        (Version::HTTP_10, "/", &[("host", "a"), ("host", "b")], 400),
        (Version::HTTP_2, "http://a/", &[], 200),
        (Version::HTTP_2, "http://a/", &[("host", "a")], 200),
        (Version::HTTP_2, "http://a/", &[("host", "b")], 400),
    ] {
        let status = status(request(version, uri, headers)).await;
        assert_eq!(status, expected, "{version:?} {uri} {headers:?}");
    }
}

#[tokio::test]
async fn rfc9112_6_1_no_transfer_coding_but_chunked_is_handed_on() {
    for (codings, expected) in [
        (&["chunked"][..], 200),
        (&["Chunked"], 200),
        (&["gzip, chunked"], 501),
        (&["gzip", "chunked"], 501),
        (&["chunked", "chunked"], 501),
        (&["chunked, chunked"], 501),
        (&["xchunked"], 501),
        (&[" "], 501),
    ] {
        let mut headers = vec![("host", "a")];
        headers.extend(codings.iter().map(|coding| ("transfer-encoding", *coding)));
        let status = status(request(Version::HTTP_11, "/", &headers)).await;
        assert_eq!(status, expected, "{codings:?}");
    }
}

/// RFC 9110 §9.3.8: an answer to TRACE holds the request as it arrived, credentials and all.
#[tokio::test]
async fn rfc9110_9_3_8_trace_and_connect_are_not_for_this_proxy() {
    for (method, expected) in [
        (Method::CONNECT, 501),
        (Method::TRACE, 501),
        (Method::OPTIONS, 200),
        (Method::POST, 200),
    ] {
        let mut request = request(Version::HTTP_2, "http://a/", &[]);
        *request.method_mut() = method.clone();
        assert_eq!(status(request).await, expected, "{method}");
    }
}

#[tokio::test]
async fn a_path_has_one_meaning() {
    for (uri, expected) in [
        ("/tickets/1", 200),
        ("/tickets/a.b~c_d-e;f=g,h", 200),
        ("/tickets/%C3%A9%20", 200),
        ("/tickets/1?next=//a/../%2f", 200),
        ("/", 200),
        ("*", 200),
        ("//tickets/1", 400),
        ("/orders//tickets", 400),
        ("/orders/../tickets/1", 400),
        ("/orders/..;/tickets/1", 400),
        ("/./tickets/1", 400),
        ("/orders/%2e%2E/tickets/1", 400),
        ("/orders/..%2Ftickets/1", 400),
        ("/orders%2f1", 400),
        ("/orders/%5c..%5Ctickets", 400),
        ("/tickets/%252e", 400),
        ("/tickets/1%00", 400),
    ] {
        let status = status(request(Version::HTTP_2, uri, &[])).await;
        assert_eq!(status, expected, "{uri}");
    }
}
