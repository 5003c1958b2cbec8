//! The layer that ends request bodies.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::Request;
use tower_layer::Layer;
use tower_revoke_core::Reason;
use tower_service::Service;

use crate::{TokenLifetimeBody, lifetime::Watchable, settings::Settings};

/// Ends request bodies when their token ends, with a [`TokenEndedError`](crate::TokenEndedError). The
/// handler answers. With the feature `tonic-014` a handler of tonic gets the right `Status` for it.
///
/// [`TokenLifetimeLayer::request_bodies`](crate::TokenLifetimeLayer::request_bodies) makes it. It wraps the request's body, so the inner service
/// must take a [`TokenLifetimeBody`]; axum and tonic take any. Requests without a token, and a body that is complete with
/// its first frame, are not watched. If no bearer layer has seen the request, its body is an error.
///
/// ```
/// use axum::{Router, body::Bytes, routing::post};
/// use tower::ServiceBuilder;
/// use tower_revoke_streams::TokenLifetimeLayer;
///
/// let lifetime = TokenLifetimeLayer::new();
/// let uploads = lifetime.request_bodies();
/// let app: Router = Router::new()
///     .route("/import", post(async |body: Bytes| body.len().to_string()))
///     .layer(ServiceBuilder::new().layer(lifetime).layer(uploads));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct RequestBodyLifetimeLayer {
    settings: Arc<Settings>,
}

impl RequestBodyLifetimeLayer {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }
}

impl<S> Layer<S> for RequestBodyLifetimeLayer {
    type Service = RequestBodyLifetime<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestBodyLifetime {
            inner,
            settings: self.settings.clone(),
        }
    }
}

/// The service of [`RequestBodyLifetimeLayer`]. It is as ready as its inner service.
#[derive(Clone, Debug)]
pub struct RequestBodyLifetime<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S, B> Service<Request<B>> for RequestBodyLifetime<S>
where
    S: Service<Request<TokenLifetimeBody<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let watchable = Watchable::of(request.extensions(), self.settings.clone());
        self.inner.call(request.map(|body| match watchable {
            Ok(watchable) => TokenLifetimeBody::request(body, watchable),
            Err(rejection) if rejection.reason() == Reason::NoToken => {
                TokenLifetimeBody::direct(body)
            }
            Err(rejection) => TokenLifetimeBody::misconfigured(body, rejection),
        }))
    }
}
