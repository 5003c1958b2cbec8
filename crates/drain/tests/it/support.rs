//! Uploads, and a service that responds to them early.

use std::{convert::Infallible, future::Ready};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::Full;
use tower::{Layer, Service, service_fn};
use tower_revoke_drain::{DrainUploadBody, DrainUploadFuture, DrainUploadLayer};
use tower_revoke_testing::ScriptedBody;

pub(crate) type Upload = DrainUploadBody<ScriptedBody>;
pub(crate) type Answer = Response<Full<Bytes>>;
pub(crate) type Held<F> = DrainUploadFuture<F, ScriptedBody, Full<Bytes>>;

/// An HTTP/2 upload that announces this many bytes.
pub(crate) fn upload(len: u64, body: ScriptedBody) -> Request<ScriptedBody> {
    Request::post("/")
        .version(Version::HTTP_2)
        .header("content-length", len)
        .body(body)
        .unwrap()
}

pub(crate) fn unauthorized() -> Answer {
    let mut response = Response::new(Full::from("no"));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

/// Sends an upload through the layer to a service that drops it and responds with 401.
pub(crate) fn reject(
    layer: &DrainUploadLayer,
    request: Request<ScriptedBody>,
) -> Held<Ready<Result<Answer, Infallible>>> {
    let inner = service_fn(|request: Request<Upload>| {
        drop(request);
        std::future::ready(Ok(unauthorized()))
    });
    layer.layer(inner).call(request)
}
