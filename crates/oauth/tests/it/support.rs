//! A scripted server and a scripted client.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::to_bytes, extract::Request as AxumRequest};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinHandle,
    time::Instant,
};
use tower::service_fn;
use tower_revoke_core::{
    BearerToken, BoxError, Claims, Endpoint, QueueFull, RemoteRevocation, RemoteSlot, TokenCopy,
    TokenHash, TokenId, VerifiedToken,
};
use tower_revoke_http::HttpsClient;
use tower_revoke_oauth::{RevocationClient, RevocationClientBuilder};

pub(crate) const SECRET: &str = "open-sesame-4711";

/// Sends the revocation of `token` to `server`.
pub(crate) fn tell(server: &RevocationClient, token: &str) {
    let kept = reserve(server, token).unwrap().send(copy(token));
    // Without an outbox there is nothing to wait for.
    kept.now_or_never().unwrap();
}

/// Reserves a slot for `token`, whose caller holds no other.
pub(crate) fn reserve(server: &RevocationClient, token: &str) -> Result<RemoteSlot, QueueFull> {
    Arc::<dyn RemoteRevocation>::from(server.clone()).reserve(&verified(token, json!({})))
}

/// Returns a token with these claims, whose holder has no other.
pub(crate) fn verified(token: &str, claims: Value) -> VerifiedToken {
    let id = TokenId::of_opaque("server", &TokenHash::of(token.as_bytes()));
    let claims = Claims::from_value(claims).unwrap();
    VerifiedToken::new(id, claims, Duration::from_secs(30))
}

pub(crate) fn copy(token: &str) -> TokenCopy {
    TokenCopy::from(&BearerToken::new(token).unwrap())
}

/// Returns the form field `name`.
pub(crate) fn member(body: &[u8], name: &str) -> Option<String> {
    let mut members = form_urlencoded::parse(body);
    let found = members.find(|(member, _)| member == name);
    found.map(|(_, value)| value.into_owned())
}

pub(crate) fn status(status: u16) -> Response<Bytes> {
    answer(status, &[], "")
}

pub(crate) fn answer(
    status: u16,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer.body(body.into()).unwrap()
}

/// A server on loopback. It returns the scripted answers in order, and then repeats the last one.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: UnboundedReceiver<(Parts, Bytes)>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(answers: impl IntoIterator<Item = Response<Bytes>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let script = Mutex::new(answers.into_iter().collect::<VecDeque<_>>());
        Self::on(listener, move |_, _| {
            let mut script = script.lock().unwrap();
            if script.len() > 1 {
                script.pop_front().unwrap()
            } else {
                script.front().unwrap().clone()
            }
        })
    }

    pub(crate) fn on(
        listener: TcpListener,
        respond: impl Fn(&Parts, &Bytes) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (tell, seen) = unbounded_channel();
        let respond = Arc::new(respond);
        let router = Router::new().fallback(move |request: AxumRequest| {
            let (tell, respond) = (tell.clone(), respond.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, 1 << 20).await.unwrap();
                let answer = respond(&parts, &body);
                let _ = tell.send((parts, body));
                answer.map(axum::body::Body::from)
            }
        });
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            seen,
            task,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns a client of this server, over a socket.
    pub(crate) fn client(&self) -> RevocationClientBuilder {
        RevocationClient::builder(Endpoint::new(&self.url("/revoke")).unwrap())
            .client_credentials("shop", SECRET)
            .http_client(HttpsClient::new().unwrap())
            .seed(1)
    }

    /// Returns the next request.
    pub(crate) async fn next(&mut self) -> (Parts, Bytes) {
        self.seen.recv().await.unwrap()
    }

    /// Returns the requests that were not read yet.
    pub(crate) fn rest(&mut self) -> Vec<(Parts, Bytes)> {
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Answer = Result<Response<Bytes>, BoxError>;

/// One request that a [`scripted`] client received.
#[derive(Debug)]
pub(crate) struct Try {
    pub(crate) at: Instant,
    pub(crate) token: String,
    pub(crate) request: Request<Bytes>,
}

/// Returns a client without a socket, and its requests. `answer` gets the number of the request,
/// and the token.
pub(crate) fn scripted<F, R>(answer: F) -> (RevocationClientBuilder, UnboundedReceiver<Try>)
where
    F: Fn(usize, String) -> R + Send + Sync + 'static,
    R: Future<Output = Answer> + Send + 'static,
{
    let (tell, tries) = unbounded_channel();
    let (answer, count) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    let client = service_fn(move |request: Request<Full<Bytes>>| {
        let (answer, tell, count) = (answer.clone(), tell.clone(), count.clone());
        async move {
            let (head, body) = request.into_parts();
            let request = Request::from_parts(head, body.collect().await?.to_bytes());
            let token = member(request.body(), "token").unwrap_or_default();
            let _ = tell.send(Try {
                at: Instant::now(),
                token: token.clone(),
                request,
            });
            let answer = answer(count.fetch_add(1, Ordering::Relaxed), token).await?;
            Ok::<_, BoxError>(answer.map(Full::new))
        }
    });
    let server = RevocationClient::builder(Endpoint::new("https://id.example.com/revoke").unwrap())
        .client_credentials("shop", SECRET)
        .http_client(client)
        .seed(1);
    (server, tries)
}

/// Returns the requests that were not read yet.
pub(crate) fn rest(tries: &mut UnboundedReceiver<Try>) -> Vec<Try> {
    std::iter::from_fn(|| tries.try_recv().ok()).collect()
}
