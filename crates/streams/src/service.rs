//! The service: offers the lifetime to the handler, and remembers the token for the response.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Method, Request, Response, Version, header::UPGRADE};
use http_body::Body;
use tower_revoke_core::{
    Reason, Rejection, RejectionBody, RejectionFormat, end::RequestShape, internal::respond,
};
use tower_service::Service;

use crate::{
    TokenLifetimeBody, TokenLifetimeFuture,
    future::Watched,
    lifetime::{Offered, Watchable},
    settings::Settings,
};

/// The service of [`TokenLifetimeLayer`](crate::TokenLifetimeLayer). It is as ready as its inner
/// service.
#[derive(Clone, Debug)]
pub struct TokenLifetimeService<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> TokenLifetimeService<S> {
    pub(crate) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }

    /// `None` if the request has no token.
    fn watched<B>(&self, request: &mut Request<B>) -> Result<Option<Watched>, Rejection> {
        let watchable = match Watchable::of(request.extensions(), self.settings.clone()) {
            Ok(watchable) => watchable,
            Err(rejection) if rejection.reason() == Reason::NoToken => return Ok(None),
            Err(rejection) => return Err(rejection),
        };
        let is_old = request.version() <= Version::HTTP_10 && *request.method() != Method::HEAD;
        if is_old && !self.settings.allows_http_10 {
            return Err(Reason::HttpVersion.into());
        }
        let may_upgrade =
            *request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE);
        // A layer further out sees the same upgrade.
        let offered = request.extensions().get::<Offered>();
        let offered = offered.and_then(|offered| offered.is_taken.clone());
        let is_taken = may_upgrade.then(|| offered.unwrap_or_default());
        let watched = Watched {
            watchable,
            request: RequestShape::of(request),
            is_taken: is_taken.clone(),
            format: RejectionFormat::of(request.extensions()),
        };
        request.extensions_mut().insert(Offered {
            settings: self.settings.clone(),
            is_taken,
        });
        Ok(Some(watched))
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for TokenLifetimeService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
{
    type Response = Response<RejectionBody<TokenLifetimeBody<ResBody>>>;
    type Error = S::Error;
    type Future = TokenLifetimeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        match self.watched(&mut request) {
            Ok(watched) => TokenLifetimeFuture::calling(self.inner.call(request), watched),
            Err(rejection) => {
                let format = RejectionFormat::of(request.extensions());
                let response = respond(&format, rejection, RequestShape::of(&request));
                TokenLifetimeFuture::rejected(response)
            }
        }
    }
}
