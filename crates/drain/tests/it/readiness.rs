//! TRAPS 9: the readiness suite.

use http::{Request, Version};
use tower::{Layer, layer::layer_fn, util::MapRequest};
use tower_revoke_drain::DrainUploadLayer;
use tower_revoke_testing::{ReadinessService, ScriptedBody, readiness_conformance};

use crate::support::{Upload, upload};

#[tokio::test]
async fn trap_09_readiness_is_kept_while_uploads_are_drained() {
    for version in [Version::HTTP_11, Version::HTTP_2, Version::HTTP_3] {
        let layer = layer_fn(|inner: ReadinessService<ScriptedBody>| {
            // The inner service doesn't get the upload, and responds early.
            let drop_body = |request: Request<Upload>| request.map(|_| ScriptedBody::new());
            DrainUploadLayer::new().layer(MapRequest::new(inner, drop_body))
        });
        readiness_conformance(layer, || {
            let body = ScriptedBody::new().data("abc").data("def");
            let mut request = upload(6, body);
            *request.version_mut() = version;
            request
        })
        .await;
    }
}
