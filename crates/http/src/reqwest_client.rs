//! The client on reqwest.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower_revoke_core::BoxError;
use tower_service::Service;

use crate::{ResponseBody, ResponseFuture};

/// A [`reqwest::Client`] that follows no redirects and retries nothing.
///
/// # Examples
/// ```
/// use tower_revoke_http::ReqwestClient;
///
/// let client = ReqwestClient::build(reqwest::Client::builder().user_agent("orders/1.0"))?;
/// # Ok::<(), tower_revoke_http::ReqwestClientError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReqwestClient {
    client: reqwest::Client,
}

/// Why a [`ReqwestClient`] can't be built.
#[derive(Debug, thiserror::Error)]
#[error("the reqwest client could not be built")]
pub struct ReqwestClientError(#[source] reqwest::Error);

impl ReqwestClient {
    /// Builds the client with these settings, but without redirects and retries.
    ///
    /// It takes no finished `reqwest::Client`: by default that one follows redirects, which would
    /// carry tokens and secrets to another server.
    ///
    /// # Errors
    /// [`ReqwestClientError`] if reqwest rejects the settings.
    pub fn build(builder: reqwest::ClientBuilder) -> Result<Self, ReqwestClientError> {
        let client = builder
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .build()
            .map_err(ReqwestClientError)?;
        Ok(Self { client })
    }
}

impl Service<Request<Full<Bytes>>> for ReqwestClient {
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> ResponseFuture {
        let client = self.client.clone();
        Box::pin(async move {
            let request = request.map(reqwest::Body::wrap);
            let request = request.try_into().map_err(without_url)?;
            let response = client.execute(request).await.map_err(without_url)?;
            let response: Response<reqwest::Body> = response.into();
            Ok(response.map(|body| body.map_err(without_url).boxed_unsync()))
        })
    }
}

/// The query of an endpoint may be secret, and errors are logged.
fn without_url(error: reqwest::Error) -> BoxError {
    error.without_url().into()
}
