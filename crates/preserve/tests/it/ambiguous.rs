//! Tests that requests which a proxy and its upstream could interpret differently never reach the
//! inner service.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_core::PathAllowances;
use tower_revoke_preserve::RejectAmbiguousLayer;

async fn status(request: Request<()>) -> StatusCode {
    status_behind(RejectAmbiguousLayer::new(), request).await
}

async fn status_behind(layer: RejectAmbiguousLayer, request: Request<()>) -> StatusCode {
    let inner = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = layer.layer(inner);
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
        (Version::HTTP_3, "http://a/", &[], 200),
        (Version::HTTP_3, "http://a/", &[("host", "b")], 400),
    ] {
        let status = status(request(version, uri, headers)).await;
        assert_eq!(status, expected, "{version:?} {uri} {headers:?}");
    }
}

#[tokio::test]
async fn rfc9112_6_1_only_chunked_coding_is_forwarded() {
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

/// RFC 9110 §9.3.8: the response to TRACE contains the request as received, including credentials.
#[tokio::test]
async fn rfc9110_9_3_8_trace_and_connect_are_rejected() {
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
async fn rfc8441_4_a_connect_with_a_path_passes_where_that_is_allowed() {
    let connect = |version, uri| {
        let mut request = request(version, uri, &[]);
        *request.method_mut() = Method::CONNECT;
        request
    };
    let layer = RejectAmbiguousLayer::new().allow_extended_connect();
    for (request, expected) in [
        (connect(Version::HTTP_2, "http://a/chat"), 200),
        (connect(Version::HTTP_3, "http://a/chat"), 200),
        (connect(Version::HTTP_2, "http://a/%63hat"), 400),
        (connect(Version::HTTP_2, "a:443"), 501),
        (connect(Version::HTTP_11, "a:443"), 501),
        (connect(Version::HTTP_11, "http://a/chat"), 501),
    ] {
        let what = format!("{request:?}");
        assert_eq!(status_behind(layer, request).await, expected, "{what}");
    }
}

#[tokio::test]
async fn a_path_has_one_meaning() {
    for (uri, expected) in [
        ("/tickets/1", 200),
        ("/tickets/a.b~c_d-e=f,g", 200),
        ("/tickets/%C3%A9%20", 200),
        ("/tickets/1?next=//a/../%2f;%69", 200),
        ("/.well-known/x", 200),
        ("/", 200),
        ("*", 400),
        ("tickets", 400),
        ("tickets:80", 400),
        ("/tickets%3fx", 400),
        ("/tickets%23", 400),
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
        ("/%74ickets/1", 400),
        ("/tickets;x=1", 400),
        ("/tickets%3bx=1", 400),
        ("/tickets%0a", 400),
        ("/tickets%7F", 400),
        ("/tickets%c0%af", 400),
        ("/%u0074ickets", 400),
    ] {
        let status = status(request(Version::HTTP_2, uri, &[])).await;
        assert_eq!(status, expected, "{uri}");
    }
}

/// Frameworks take the method from these headers, while a condition may have judged by the real
/// one. CGI, WSGI and Rack map names with underscores to the same variable.
#[tokio::test]
async fn trap_40_a_request_has_one_method() {
    for (name, expected) in [
        ("x-http-method-override", 400),
        ("x_http_method_override", 400),
        ("x-http-method", 400),
        ("x-method-override", 400),
        ("X-Method.Override", 400),
        ("x-http-methods", 200),
        ("access-control-request-method", 200),
    ] {
        let status = status(request(Version::HTTP_2, "/", &[(name, "DELETE")])).await;
        assert_eq!(status, expected, "{name}");
    }
}

/// Returns what the inner service receives: its URI, and the path allowances.
async fn handed_on(layer: RejectAmbiguousLayer, uri: &str) -> Option<(String, PathAllowances)> {
    let inner = service_fn(async |request: Request<()>| {
        let mut response = Response::new(Full::<Bytes>::default());
        let allowed = PathAllowances::of(request.extensions());
        let seen = (request.uri().to_string(), allowed);
        response.extensions_mut().insert(seen);
        Ok::<_, Infallible>(response)
    });
    let request = request(Version::HTTP_2, uri, &[]);
    let Ok(mut response) = layer.layer(inner).oneshot(request).await;
    response.extensions_mut().remove()
}

#[tokio::test]
async fn trap_40_encoded_unreserved_characters_are_decoded_where_they_are_allowed() {
    let layer = RejectAmbiguousLayer::new().allow_encoded_unreserved();
    let allowed = PathAllowances::default().encoded_unreserved();
    for (uri, expected) in [
        ("/%7Eann/%C3%A9?next=%7E", Some("/~ann/%C3%A9?next=%7E")),
        ("/%69nvoices", Some("/invoices")),
        ("http://a/%69nvoices?", Some("http://a/invoices?")),
        ("/invoices/1?a", Some("/invoices/1?a")),
        ("/%2e%2e/invoices", None),
        ("/invoices;x", None),
        ("/%2569nvoices", None),
    ] {
        let expected = expected.map(|uri| (uri.to_owned(), allowed));
        assert_eq!(handed_on(layer, uri).await, expected, "{uri}");
    }
}

#[tokio::test]
async fn trap_40_matrix_parameters_are_forwarded_where_they_are_allowed() {
    let layer = RejectAmbiguousLayer::new().allow_matrix_parameters();
    let allowed = PathAllowances::default().matrix_parameters();
    for (uri, passes) in [
        ("/invoices;v=2/1;w", true),
        ("/invoices%3bv=2", false),
        ("/;x/invoices", false),
        ("/orders/..;/invoices", false),
        ("/%69nvoices;v=2", false),
    ] {
        let expected = passes.then(|| (uri.to_owned(), allowed));
        assert_eq!(handed_on(layer, uri).await, expected, "{uri}");
    }
}

#[tokio::test]
async fn the_innermost_guard_sets_the_allowances_of_inner_layers() {
    let outer = RejectAmbiguousLayer::new().allow_matrix_parameters();
    let inner = service_fn(async |request: Request<()>| {
        let allowed = PathAllowances::of(request.extensions());
        assert_eq!(allowed, PathAllowances::default());
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = outer.layer(RejectAmbiguousLayer::new().layer(inner));
    let request = request(Version::HTTP_2, "/invoices", &[]);
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
}
