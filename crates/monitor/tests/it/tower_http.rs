//! Tests calls that are judged by classifiers of tower-http.

use http::{HeaderMap, Response};
use tower_http::classify::{
    GrpcCode, GrpcErrorsAsFailures, ServerErrorsAsFailures, StatusInRangeAsFailures,
};
use tower_revoke_monitor::{MonitorLayer, TowerHttp};
use tower_revoke_testing::ScriptedBody;

use crate::support::*;

fn answer(status: u16) -> Answer {
    let mut answer = hello();
    *answer.status_mut() = status.try_into().expect("valid");
    answer
}

#[tokio::test]
async fn a_classified_success_is_a_success() {
    for (status, expected) in [(200, SUCCESS), (404, SUCCESS), (500, EXCEPTION)] {
        let classifier = ServerErrorsAsFailures::new();
        let layer = MonitorLayer::service("orders").classify(TowerHttp::new(classifier));
        call(&layer, "ann", answer(status)).await;
        assert_eq!(numbers(&total(&layer)), expected, "{status}");
    }
}

#[tokio::test]
async fn a_classified_failure_is_named_by_its_status() {
    for (status, expected) in [
        (200, SUCCESS),
        (301, EXCEPTION),
        (404, FAILURE),
        (500, EXCEPTION),
    ] {
        let classifier = StatusInRangeAsFailures::new(300..=599);
        let layer = MonitorLayer::service("orders").classify(TowerHttp::new(classifier));
        call(&layer, "ann", answer(status)).await;
        assert_eq!(numbers(&total(&layer)), expected, "{status}");
    }
}

#[tokio::test]
async fn an_end_of_stream_classifier_gets_the_trailers() {
    for (status, expected) in [
        ("0", SUCCESS),
        ("5", SUCCESS),
        ("3", FAILURE),
        ("13", EXCEPTION),
    ] {
        let classifier = GrpcErrorsAsFailures::new().with_success(GrpcCode::NotFound);
        let layer = MonitorLayer::service("orders").classify(TowerHttp::new(classifier));
        let trailers = [("grpc-status".parse().unwrap(), status.parse().unwrap())];
        let body = ScriptedBody::new()
            .data("x")
            .trailers(HeaderMap::from_iter(trailers));
        call(&layer, "ann", Response::new(body)).await;
        assert_eq!(numbers(&total(&layer)), expected, "{status}");
    }
}
