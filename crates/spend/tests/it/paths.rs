//! Tests that layers with a condition reject paths that servers interpret differently.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use http::{HeaderValue, Method, Request, StatusCode, Version, header};
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_core::{PathAllowances, Reason, Rejection, TokenStatus};
use tower_revoke_spend::{ConditionRequest, RevokeAfterResponseLayer, UseLimitLayer};

use crate::support::{Caller, hello};

fn invoices(call: &ConditionRequest<'_>) -> bool {
    call.path().starts_with("/invoices")
}

/// Calls these paths with one token; returns the statuses, and the number of calls to the service.
async fn call(layer: UseLimitLayer, paths: &[&str]) -> (Vec<StatusCode>, u32) {
    let caller = Caller::new();
    let reached = Arc::new(AtomicU32::new(0));
    let counted = reached.clone();
    let service = layer.layer(service_fn(move |request: Request<()>| {
        counted.fetch_add(1, Ordering::SeqCst);
        hello(request)
    }));
    let mut statuses = Vec::new();
    for path in paths {
        let mut request = caller.request();
        *request.uri_mut() = path.parse().expect("a URI");
        let answer: Result<_, Infallible> = service.clone().oneshot(request).await;
        statuses.push(answer.expect("an answer").status());
    }
    (statuses, reached.load(Ordering::SeqCst))
}

#[tokio::test]
async fn trap_40_another_spelling_of_the_path_is_not_free() {
    for spelling in [
        "/%69nvoices/1",
        "/i%6evoices/1",
        "/;x/invoices/1",
        "/invoices;x=1",
        "/invoices%3bx=1",
        "/orders/..;/invoices/1",
        "/orders%2finvoices",
        "/invoices%00",
        "/invoices%3fx",
        "orders:80",
        "*",
        "/%c0%afinvoices",
    ] {
        for layer in [UseLimitLayer::single(), UseLimitLayer::uses::<1>()] {
            let paths = [spelling, "/invoices/1", spelling];
            let (statuses, reached) = call(layer.when(invoices), &paths).await;
            assert_eq!(statuses, [400, 200, 400], "{spelling}");
            assert_eq!(reached, 1, "{spelling}");
        }
    }
}

#[tokio::test]
async fn trap_40_well_known_paths_pass_a_layer_with_a_condition() {
    let paths = ["/.well-known/x", "/.well-known/x", "/caf%C3%A9"];
    let (statuses, reached) = call(UseLimitLayer::single().when(invoices), &paths).await;
    assert_eq!(statuses, [200, 200, 200]);
    assert_eq!(reached, 3);
}

#[tokio::test]
async fn a_layer_without_a_condition_ignores_the_path() {
    let paths = ["/%69nvoices/1", "/%69nvoices/1"];
    let (statuses, reached) = call(UseLimitLayer::single(), &paths).await;
    assert_eq!(statuses, [200, 401]);
    assert_eq!(reached, 1);
}

#[tokio::test]
async fn trap_40_inner_layers_apply_the_allowances_of_the_guard() {
    let layer = UseLimitLayer::single().when(|call: &ConditionRequest<'_>| {
        assert_eq!(call.raw_uri(), "/invoices;x=1/%7Eann?next=%2e");
        invoices(call) && call.path() == "/invoices/~ann"
    });
    let caller = Caller::new();
    let both = PathAllowances::default()
        .encoded_unreserved()
        .matrix_parameters();
    for (path, allowed, expected) in [
        (
            "/invoices;x=1/%7Eann?next=%2e",
            PathAllowances::default(),
            400,
        ),
        ("/;x=1/invoices", both, 400),
        ("/orders/..;x=1/invoices", both, 400),
        ("/invoices;x=1/%7Eann?next=%2e", both, 200),
        ("/invoices;x=1/%7Eann?next=%2e", both, 401),
    ] {
        let mut request = caller.request();
        *request.uri_mut() = path.parse().expect("a URI");
        request.extensions_mut().insert(allowed);
        let answer = layer.layer(service_fn(hello)).oneshot(request).await;
        assert_eq!(answer.unwrap().status(), expected, "{path} {allowed:?}");
    }
}

#[tokio::test]
async fn an_ambiguous_path_is_rejected_like_other_malformed_requests() {
    let layer = RevokeAfterResponseLayer::new().when(invoices);
    for (grpc, status) in [(false, 400), (true, 200)] {
        let caller = Caller::new();
        let mut request = caller.request();
        *request.uri_mut() = "/invoices;x=1".parse().unwrap();
        if grpc {
            *request.method_mut() = Method::POST;
            *request.version_mut() = Version::HTTP_2;
            let value = HeaderValue::from_static("application/grpc");
            request.headers_mut().insert(header::CONTENT_TYPE, value);
        }
        let service = layer.layer(service_fn(hello));
        let answer = service.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status);
        let grpc_status = answer.headers().get("grpc-status");
        assert_eq!(grpc_status.is_some_and(|value| value == "16"), grpc);
        let rejection = answer.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.reason(), Reason::AmbiguousPath);
        assert_eq!(rejection.description(), "the path has matrix parameters");
        assert_eq!(rejection.token_id(), Some(caller.token.id()));
        assert_eq!(caller.known_status().await, TokenStatus::Valid);
    }
}

/// An exemption for a path must not exempt other encodings of it: axum's static route `/@public`
/// doesn't match `/%40public`, which reaches another route.
#[tokio::test]
async fn trap_40_an_exemption_does_not_cover_other_encodings() {
    let layer = || {
        UseLimitLayer::single().when(|call: &ConditionRequest<'_>| {
            let free = ["/@public/", "/café x/"];
            !free.iter().any(|free| call.path().starts_with(free))
        })
    };
    for path in ["/@public/%40%7b", "/caf%C3%A9%20x/"] {
        let (statuses, reached) = call(layer(), &[path; 2]).await;
        assert_eq!((statuses, reached), (vec![StatusCode::OK; 2], 2), "{path}");
    }
    for path in ["/%40public/1", "/a%2b/"] {
        let (statuses, reached) = call(layer(), &[path; 2]).await;
        assert_eq!(
            (statuses[1], reached),
            (StatusCode::UNAUTHORIZED, 1),
            "{path}"
        );
    }
    // A condition that charges a path charges each encoding of it.
    let paid = UseLimitLayer::single().when(|call: &ConditionRequest<'_>| call.path() == "/@paid");
    let (statuses, _) = call(paid, &["/%40paid", "/@paid"]).await;
    assert_eq!(statuses, [200, 401]);
}
