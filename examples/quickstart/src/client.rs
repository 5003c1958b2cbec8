//! A client that reads responses to the last byte.

use std::net::SocketAddr;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower_revoke::core::BoxError;

/// A complete response.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) challenge: String,
    pub(crate) body: String,
}

#[derive(Clone)]
pub(crate) struct Caller(Client<HttpConnector, Body>);

impl Caller {
    pub(crate) fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    /// Sends a request, with a token if there is one, and reads the whole response.
    pub(crate) async fn call(
        &self,
        method: Method,
        at: SocketAddr,
        path: &str,
        token: Option<&str>,
    ) -> Result<Answer, BoxError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{at}{path}"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = self.0.request(request.body(Body::empty())?).await?;
        let status = response.status();
        let challenge = match response.headers().get("www-authenticate") {
            Some(value) => value.to_str()?.to_owned(),
            None => String::new(),
        };
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Answer {
            status,
            challenge,
            body: String::from_utf8(body.to_vec())?,
        })
    }
}
