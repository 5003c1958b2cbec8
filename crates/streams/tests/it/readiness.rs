//! TRAPS 9: the readiness suite.

use http::Request;
use tower::{Layer, layer::layer_fn, util::MapRequest};
use tower_revoke_streams::{TokenLifetimeBody, TokenLifetimeLayer};
use tower_revoke_testing::{ReadinessService, ScriptedBody, readiness_conformance};

use crate::support::World;

#[tokio::test]
async fn trap_09_readiness_is_kept() {
    let world = World::new();
    let layer = layer_fn(|inner: ReadinessService<ScriptedBody>| {
        let plain = |request: Request<TokenLifetimeBody<ScriptedBody>>| {
            request.map(|_| ScriptedBody::new())
        };
        let lifetime = TokenLifetimeLayer::new();
        lifetime.layer(
            lifetime
                .request_bodies()
                .layer(MapRequest::new(inner, plain)),
        )
    });
    let request = || world.request().map(|_| ScriptedBody::new());
    readiness_conformance(layer, request).await;
}
