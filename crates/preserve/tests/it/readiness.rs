//! TRAPS 9: the readiness suite.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::util::MapRequestLayer;
use tower_revoke_preserve::{
    HopByHopLayer, Outbound, OutboundAuthorizationLayer, OutboundBody, PreserveAuthorizationLayer,
    RejectAmbiguousLayer,
};
use tower_revoke_testing::readiness_conformance;

fn request(connection: &str) -> Request<Full<Bytes>> {
    Request::get("http://orders.internal/")
        .header("connection", connection)
        .header("authorization", "Bearer abc")
        .body(Full::default())
        .expect("a request")
}

#[tokio::test]
async fn trap_09_readiness_is_kept() {
    let inbound = PreserveAuthorizationLayer::new();
    readiness_conformance(inbound, || request("close")).await;
    for connection in ["close", "authorization"] {
        readiness_conformance(inbound.for_proxy(), || request(connection)).await;
    }
    let outbound = OutboundAuthorizationLayer::strip()
        .upstream("orders.internal", Outbound::keep())
        .unwrap();
    // Converts the body back to the type that the suite's service takes.
    let as_it_was = MapRequestLayer::new(|request: Request<OutboundBody<Full<Bytes>>>| {
        request.map(|_| Full::<Bytes>::default())
    });
    readiness_conformance((outbound, as_it_was), || request("close")).await;
    for host in ["a", "orders.internal"] {
        let ambiguous = RejectAmbiguousLayer::new();
        readiness_conformance(ambiguous, || {
            let mut request = request("close");
            request.headers_mut().insert("host", host.parse().unwrap());
            request
        })
        .await;
    }
    let hop_by_hop = HopByHopLayer::via("edge").unwrap();
    readiness_conformance(hop_by_hop, || request("close")).await;
}
