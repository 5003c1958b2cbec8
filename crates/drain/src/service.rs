//! The service: chooses which uploads are watched.

use std::task::{Context, Poll};

use http::{
    Request, Response, Version,
    header::{CONTENT_LENGTH, EXPECT},
};
use http_body::Body;
use tower_revoke_core::end::RequestShape;
use tower_service::Service;

use crate::{DrainUploadBody, DrainUploadFuture, DrainUploadLayer};

/// The service of [`DrainUploadLayer`](crate::DrainUploadLayer). It is as ready as its inner
/// service.
#[derive(Clone, Debug)]
pub struct DrainUpload<S> {
    inner: S,
    config: DrainUploadLayer,
}

impl<S> DrainUpload<S> {
    pub(crate) fn new(inner: S, config: DrainUploadLayer) -> Self {
        Self { inner, config }
    }
}

impl<S, B, ResBody> Service<Request<B>> for DrainUpload<S>
where
    S: Service<Request<DrainUploadBody<B>>, Response = Response<ResBody>>,
    B: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = DrainUploadFuture<S::Future, B, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let len = upload_len(&request).filter(|len| *len <= self.config.max_bytes);
        let Some(len) = len else {
            let call = self.inner.call(request.map(DrainUploadBody::direct));
            return DrainUploadFuture::new(call, None);
        };
        let (parts, body) = request.into_parts();
        let (body, returned) = DrainUploadBody::watched(body, len);
        let call = self.inner.call(Request::from_parts(parts, body));
        DrainUploadFuture::new(call, Some((returned, self.config.clone())))
    }
}

/// The length of an upload that an early response may cut short.
fn upload_len<B: Body>(request: &Request<B>) -> Option<u64> {
    let headers = request.headers();
    if request.version() < Version::HTTP_2
        || request.body().is_end_stream()
        || headers.contains_key(EXPECT)
        || RequestShape::of(request).is_grpc()
    {
        return None;
    }
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
