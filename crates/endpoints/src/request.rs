//! What the endpoints share: a client authenticates and asks about one token.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, request::Parts};
use http_body::Body;
use http_body_util::Full;
use tower_revoke_core::{BearerToken, BoxError, BoxFuture};

use crate::{
    ClientAuthentication,
    form::{self, Form},
    response::CallError,
};

/// An endpoint, once it is known who asks about which token.
pub(crate) trait Handler: Send + Sync + 'static {
    fn clients(&self) -> &ClientAuthentication;

    /// `token` is `None` if no bearer token has the form of what was presented.
    fn answer<'a>(
        &'a self,
        client: &'a str,
        token: Option<&'a BearerToken>,
    ) -> BoxFuture<'a, Result<Response<Full<Bytes>>, CallError>>;
}

/// Implements `tower::Service` for an endpoint, which holds its [`Handler`] in an `Arc`.
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
pub(crate) fn serve<B>(
    endpoint: Arc<impl Handler>,
    request: Request<B>,
) -> BoxFuture<'static, Result<Response<Full<Bytes>>, Infallible>>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    Box::pin(async move {
        let (parts, body) = request.into_parts();
        let clients = endpoint.clients();
        let answer = match read(clients, &parts, body).await {
            Ok((client, token)) => endpoint.answer(&client, token.as_ref()).await,
            Err(error) => Err(error),
        };
        Ok(answer.unwrap_or_else(|error| error.response(clients.challenge())))
    })
}

/// Returns the authenticated client and the token.
async fn read<B>(
    clients: &ClientAuthentication,
    parts: &Parts,
    body: B,
) -> Result<(String, Option<BearerToken>), CallError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    if parts.method != Method::POST {
        return Err(CallError::Method);
    }
    let body = form::read_body(&parts.headers, body).await?;
    let form = Form::parse(&body);
    let client = clients.authenticate(parts, &form).await?;
    let token = form.get("token")?;
    let token = token.ok_or(CallError::Request("the token is missing"))?;
    Ok((client, BearerToken::new(token).ok()))
}
