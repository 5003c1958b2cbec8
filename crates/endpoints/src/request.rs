//! What the endpoints share: a client authenticates, and mostly asks about one token.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, request::Parts};
use http_body::Body;
use http_body_util::Full;
use tower_revoke_core::{BearerToken, BoxError, BoxFuture};

use crate::{
    ClientAuthentication,
    form::{self, Form, Media},
    response::CallError,
};

/// An endpoint, once the body is read.
pub(crate) trait Endpoint: Send + Sync + 'static {
    const MEDIA: Media;

    fn clients(&self) -> &ClientAuthentication;

    fn call<'a>(&'a self, parts: &'a Parts, body: Bytes) -> Answer<'a>;
}

pub(crate) type Answer<'a> = BoxFuture<'a, Result<Response<Full<Bytes>>, CallError>>;

/// An endpoint, once it is known who asks about which token.
pub(crate) trait Handler: Send + Sync + 'static {
    fn clients(&self) -> &ClientAuthentication;

    /// `token` is `None` if no bearer token has the form of what was presented.
    fn answer<'a>(&'a self, client: &'a str, token: Option<&'a BearerToken>) -> Answer<'a>;
}

impl<H: Handler> Endpoint for H {
    const MEDIA: Media = Media::Form;

    fn clients(&self) -> &ClientAuthentication {
        Handler::clients(self)
    }

    fn call<'a>(&'a self, parts: &'a Parts, body: Bytes) -> Answer<'a> {
        Box::pin(async move {
            let form = Form::parse(&body);
            let client = Handler::clients(self).authenticate(parts, &form).await?;
            let token = form.get("token")?;
            let token = token.ok_or(CallError::Request("the token is missing"))?;
            self.answer(&client, BearerToken::new(token).ok().as_ref())
                .await
        })
    }
}

/// Implements `tower::Service` for an endpoint, which holds its [`Endpoint`] in an `Arc`.
macro_rules! is_a_service {
    ($endpoint:ident) => {
        impl<B> tower_service::Service<http::Request<B>> for $endpoint
        where
            B: http_body::Body + Send + 'static,
            B::Data: Send,
            B::Error: Into<tower_revoke_core::BoxError>,
        {
            type Response = http::Response<http_body_util::Full<bytes::Bytes>>;
            type Error = std::convert::Infallible;
            type Future =
                tower_revoke_core::BoxFuture<'static, Result<Self::Response, Self::Error>>;

            fn poll_ready(
                &mut self,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<(), Self::Error>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<B>) -> Self::Future {
                $crate::request::serve(std::sync::Arc::clone(&self.0), request)
            }
        }
    };
}

pub(crate) use is_a_service;

/// Serves one call of an endpoint.
pub(crate) fn serve<E, B>(
    endpoint: Arc<E>,
    request: Request<B>,
) -> BoxFuture<'static, Result<Response<Full<Bytes>>, Infallible>>
where
    E: Endpoint,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    Box::pin(async move {
        let (parts, body) = request.into_parts();
        let body = match parts.method == Method::POST {
            true => form::read_body(E::MEDIA, &parts.headers, body).await,
            false => Err(CallError::Method),
        };
        let answer = match body {
            Ok(body) => endpoint.call(&parts, body).await,
            Err(error) => Err(error),
        };
        let challenge = endpoint.clients().challenge();
        Ok(answer.unwrap_or_else(|error| error.response(challenge)))
    })
}
