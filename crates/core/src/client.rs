//! The HTTP client that fetches keys and calls authorization servers: any tower service.

use std::future::poll_fn;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use tower_service::Service;

use crate::{BoxError, BoxFuture};

/// An HTTP client: every `tower::Service<http::Request<Full<Bytes>>>` that is
/// `Clone + Send + Sync + 'static` is one, whatever the body of its responses.
///
/// `HttpsClient` of tower-revoke-http is a client for most programs. Timeouts, proxies, tracing and
/// the like are layers around it, as those of tower-http. The caller limits the size of a response
/// and the time of an exchange; it may drop the future at any time.
///
/// # What the service must not do
/// * **Follow a redirect.** The requests carry tokens and client secrets, which a 307 or 308 would
///   hand to another server. A 3xx response is reported as [`HttpClientError::Redirect`], but one
///   that the service has followed can't be seen here. `reqwest::Client` follows redirects by
///   default; `ReqwestClient` of tower-revoke-http builds one that doesn't.
/// * **Retry.** The callers retry at their own pace.
/// * **Show the URL in its error**, which is logged: the query of an endpoint may be secret.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an HTTP client",
    note = "an HTTP client is a `tower::Service<http::Request<http_body_util::Full<bytes::Bytes>>>` \
            that returns an `http::Response` and is `Clone + Send + Sync + 'static`"
)]
pub trait HttpClient: Send + Sync + 'static {
    /// Sends `request` and reads the whole response.
    ///
    /// # Errors
    /// [`HttpClientError::TooLarge`] as soon as the body is known to be longer than `limit` bytes,
    /// [`HttpClientError::Redirect`] for a 3xx status other than 304, and
    /// [`HttpClientError::Failed`] if there is no complete response. No other status is an error.
    fn send(
        &self,
        request: Request<Bytes>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Response<Bytes>, HttpClientError>>;
}

impl<S, B> HttpClient for S
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    fn send(
        &self,
        request: Request<Bytes>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Response<Bytes>, HttpClientError>> {
        let mut service = self.clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(failed)?;
            let response = service.call(request.map(Full::new)).await.map_err(failed)?;
            read(response, limit).await
        })
    }
}

async fn read<B>(response: Response<B>, limit: usize) -> Result<Response<Bytes>, HttpClientError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let (head, body) = response.into_parts();
    if head.status.is_redirection() && head.status != StatusCode::NOT_MODIFIED {
        return Err(HttpClientError::Redirect(head.status));
    }
    if body.size_hint().lower() > limit as u64 {
        return Err(HttpClientError::TooLarge(limit));
    }
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(HttpClientError::TooLarge(limit)),
        Err(error) => Err(HttpClientError::Failed(error)),
    }
}

fn failed(error: impl Into<BoxError>) -> HttpClientError {
    HttpClientError::Failed(error.into())
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpClientError {
    /// The body is longer than the caller accepts.
    #[error("the response is longer than {0} bytes")]
    TooLarge(usize),
    /// The response is a redirect, which is never followed.
    #[error("the response is a redirect ({0}), which is not followed")]
    Redirect(StatusCode),
    /// The server could not be reached, or the response is incomplete.
    #[error("the request failed")]
    Failed(#[source] BoxError),
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use http_body_util::StreamBody;
    use tower::{ServiceBuilder, service_fn};

    use super::*;

    fn client(status: u16, body: &'static str) -> impl HttpClient {
        service_fn(move |request: Request<Full<Bytes>>| async move {
            assert_eq!(request.uri().path(), "/keys");
            let response = Response::builder().status(status);
            Ok::<_, Infallible>(response.body(body.to_owned()).unwrap())
        })
    }

    async fn get(
        client: &dyn HttpClient,
        limit: usize,
    ) -> Result<Response<Bytes>, HttpClientError> {
        let request = Request::get("https://id.example.com/keys");
        client
            .send(request.body(Bytes::new()).unwrap(), limit)
            .await
    }

    #[tokio::test]
    async fn a_response_is_complete_whatever_its_status() {
        for status in [200, 304, 404, 500] {
            let response = get(&client(status, "hello"), 5).await.unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(response.body(), "hello");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_a_separate_error() {
        for status in [300, 301, 302, 303, 307, 308, 399] {
            let error = get(&client(status, ""), 5).await.unwrap_err();
            assert!(matches!(error, HttpClientError::Redirect(found) if found == status));
        }
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_not_read_to_its_end() {
        let error = get(&client(200, "hello"), 4).await.unwrap_err();
        assert!(matches!(error, HttpClientError::TooLarge(4)));
        let endless = service_fn(async |_| {
            let frame = || Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(b"abc")));
            let frames = futures_util::stream::repeat_with(frame);
            Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
        });
        let error = get(&endless, 100).await.unwrap_err();
        assert!(matches!(error, HttpClientError::TooLarge(100)));
    }

    #[tokio::test]
    async fn an_error_of_the_service_or_the_body_is_passed_on() {
        let down = service_fn(async |_| Err::<Response<Full<Bytes>>, _>("no route"));
        let broken = service_fn(async |_| {
            let frames = [Err::<http_body::Frame<Bytes>, _>("no route")];
            let frames = futures_util::stream::iter(frames);
            Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
        });
        let clients: [Arc<dyn HttpClient>; 2] = [Arc::new(down), Arc::new(broken)];
        for client in clients {
            let error = get(&*client, 5).await.unwrap_err();
            let HttpClientError::Failed(source) = error else {
                panic!("{error}");
            };
            assert_eq!(source.to_string(), "no route");
        }
    }

    #[tokio::test]
    async fn a_service_that_needs_readiness_is_polled_ready() {
        let service = ServiceBuilder::new()
            .concurrency_limit(1)
            .service(service_fn(async |_: Request<Full<Bytes>>| {
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
            }));
        for _ in 0..2 {
            assert_eq!(get(&service, 5).await.unwrap().body(), "hello");
        }
    }
}
