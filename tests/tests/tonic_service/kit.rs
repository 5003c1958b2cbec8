//! The example as a program, or inside the test over a scripted store, and its two clients.

use std::{net::SocketAddr, time::Duration};

use example_issuer::Issuer;
use futures_util::stream;
use http::{Method, Request};
use http_body_util::Empty;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_service::{
    App, Stopped,
    proto::{Line, Price, WatchRequest, orders_client::OrdersClient},
};
use tower_revoke::{MemoryStore, RevocationList};
use tower_revoke_testing::{ScriptedStore, StoreScript};
use tower_revoke_tests::{Client, Wire, program::Program, servers::grpcio};

const CLIENT: &str = include_str!("client.py");

/// A method of each of the four kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Place,
    Watch,
    Import,
    Quote,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Place, Self::Watch, Self::Import, Self::Quote];

    /// The number of messages in a successful response.
    pub(crate) fn answers(self) -> u64 {
        match self {
            Self::Place | Self::Import => 1,
            Self::Watch => 3,
            Self::Quote => 2,
        }
    }
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: Code,
    pub(crate) details: String,
    pub(crate) answers: u64,
}

impl Outcome {
    pub(crate) fn good(kind: Kind) -> Self {
        Self {
            code: Code::Ok,
            details: String::new(),
            answers: kind.answers(),
        }
    }

    pub(crate) fn rejected(code: Code, details: &str) -> Self {
        Self {
            code,
            details: details.to_owned(),
            answers: 0,
        }
    }

    pub(crate) fn spent() -> Self {
        Self::rejected(Code::Unauthenticated, "the token was used up")
    }

    fn of(result: Result<u64, Status>) -> Self {
        match result {
            Ok(answers) => Self {
                code: Code::Ok,
                details: String::new(),
                answers,
            },
            Err(status) => Self::rejected(status.code(), status.message()),
        }
    }
}

/// An order line for this quantity of an article.
pub(crate) fn line(article: &str, quantity: u32) -> Line {
    let article = article.to_owned();
    Line { article, quantity }
}

pub(crate) fn watch(times: u32) -> WatchRequest {
    let article = "tea".to_owned();
    WatchRequest { article, times }
}

/// Builds a request, or a stream of them, with an optional token.
pub(crate) fn with_token<T>(request: T, token: Option<&str>) -> tonic::Request<T> {
    let mut request = tonic::Request::new(request);
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().expect("a header");
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// Reads a stream to its end.
pub(crate) async fn count(mut prices: Streaming<Price>) -> Result<u64, Status> {
    let mut answers = 0;
    while prices.message().await?.is_some() {
        answers += 1;
    }
    Ok(answers)
}

pub(crate) async fn channel(at: SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{at}")).expect("a URL");
    endpoint.connect().await.expect("a listening server")
}

/// Calls a method with tonic, and reads the response to its end.
pub(crate) async fn call(channel: &Channel, kind: Kind, token: Option<&str>) -> Outcome {
    let mut orders = OrdersClient::new(channel.clone());
    let tea = line("tea", 1);
    let two = || stream::iter([tea.clone(), tea.clone()]);
    Outcome::of(match kind {
        Kind::Place => {
            let order = orders.place(with_token(tea.clone(), token)).await;
            order.map(|_| 1)
        }
        Kind::Watch => match orders.watch(with_token(watch(3), token)).await {
            Ok(prices) => count(prices.into_inner()).await,
            Err(status) => Err(status),
        },
        Kind::Import => {
            let order = orders.import(with_token(two(), token)).await;
            order.map(|_| 1)
        }
        Kind::Quote => match orders.quote(with_token(two(), token)).await {
            Ok(prices) => count(prices.into_inner()).await,
            Err(status) => Err(status),
        },
    })
}

/// One call with `grpcio`.
pub(crate) fn step(kind: Kind, token: Option<&str>) -> Value {
    json!({ "kind": format!("{kind:?}"), "token": token })
}

/// Makes calls with `grpcio`, sequentially or concurrently.
pub(crate) async fn python(at: SocketAddr, steps: Vec<Value>, together: bool) -> Vec<Outcome> {
    let job = json!({ "at": at.to_string(), "steps": steps, "together": together });
    outcomes(&grpcio(CLIENT, &job).await)
}

/// Parses the outcomes that a script reports.
pub(crate) fn outcomes(done: &Value) -> Vec<Outcome> {
    let done = done.as_array().expect("a list").iter();
    let outcomes = done.map(|outcome| {
        let code = outcome["code"].as_i64().expect("a code");
        Outcome {
            code: Code::from(i32::try_from(code).expect("a small number")),
            details: outcome["details"].as_str().unwrap_or_default().to_owned(),
            answers: outcome["answers"].as_u64().unwrap_or_default(),
        }
    });
    outcomes.collect()
}

/// The example as a program.
#[derive(Debug)]
pub(crate) struct Example {
    pub(crate) program: Program,
    pub(crate) at: SocketAddr,
    dashboard: SocketAddr,
    tokens: Client,
}

impl Example {
    pub(crate) async fn start() -> Self {
        let mut program = Program::start("tonic-service", |command| {
            command.arg("127.0.0.1:0");
        });
        let issuer = program.address("issuer: ").await;
        let dashboard = program.address("counting on ").await;
        let at = program.address("listening on ").await;
        let tokens = Client::connect(issuer, Wire::Http1).await;
        Self {
            program,
            at,
            dashboard,
            tokens,
        }
    }

    /// Returns a valid token.
    pub(crate) async fn token(&mut self) -> String {
        self.token_with("scope=orders").await
    }

    /// Returns a token for this query to the issuer.
    pub(crate) async fn token_with(&mut self, query: &str) -> String {
        let path = format!("/token?{query}");
        ask(&mut self.tokens, Method::POST, &path, None).await.1
    }

    /// Returns the counts once `ready` accepts them: `total`, and `clients` by their names.
    pub(crate) async fn counts(&self, ready: impl Fn(&Value) -> bool) -> Value {
        let mut client = Client::connect(self.dashboard, Wire::Http1).await;
        let mut last = Value::Null;
        let asking = async {
            loop {
                let (_, json) = ask(&mut client, Method::GET, "/usage.json", None).await;
                let usage: Value = serde_json::from_str(&json).expect("JSON");
                let orders = &usage["services"][0];
                let clients = orders["clients"].as_array().expect("a list").iter();
                let clients = clients.map(|client| {
                    let name = client["name"].as_str().expect("a name").to_owned();
                    (name, client["total"].clone())
                });
                let clients: serde_json::Map<_, _> = clients.collect();
                last = json!({ "total": orders["total"], "clients": clients });
                if ready(&last) {
                    return last.clone();
                }
            }
        };
        let counted = timeout(Duration::from_secs(60), asking).await;
        counted.unwrap_or_else(|_| panic!("not counted as expected: {last}"))
    }

    /// Waits until connections are rejected, which means that it has begun to stop.
    pub(crate) async fn rejects_connections(&self) {
        while TcpStream::connect(self.at).await.is_ok() {}
    }
}

/// Sends an HTTP request; returns the status and text of the response.
pub(crate) async fn ask(
    client: &mut Client,
    method: Method,
    path: &str,
    token: Option<&str>,
) -> (u16, String) {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"))
        .header("host", "localhost");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Empty::new()).expect("a request");
    let answer = client.send(request).await.expect("an answer");
    let text = String::from_utf8(answer.bytes.to_vec()).expect("text");
    (answer.status.as_u16(), text)
}

/// The example inside the test, over a scripted store.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) issuer: Issuer,
    pub(crate) store: StoreScript,
    pub(crate) app: App,
    pub(crate) list: RevocationList,
    pub(crate) at: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Stopped>,
}

impl Inside {
    pub(crate) async fn start() -> Self {
        let (store, script) = ScriptedStore::over(MemoryStore::new());
        let issuer = Issuer::start().await.expect("a free port");
        Self::over(issuer, RevocationList::new(store), script).await
    }

    async fn over(issuer: Issuer, list: RevocationList, store: StoreScript) -> Self {
        let app = App::new(list.clone());
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let at = socket.local_addr().expect("a bound socket");
        let (stop, stopped) = oneshot::channel();
        let served = {
            let (app, issuer) = (app.clone(), issuer.url().to_owned());
            tokio::spawn(async move {
                let stopped = async { stopped.await.expect("the test tells when") };
                app.serve(socket, &issuer, stopped)
                    .await
                    .expect("it serves")
            })
        };
        // It listens before its list is ready.
        let mut client = Client::connect(at, Wire::Http1).await;
        assert_eq!(ask(&mut client, Method::GET, "/ready", None).await.0, 200);
        Self {
            issuer,
            store,
            app,
            list,
            at,
            stop,
            served,
        }
    }

    pub(crate) fn token(&self) -> String {
        let token = self.issuer.token().subject("ann");
        token.audience("orders").scope("orders").sign()
    }

    /// Stops it, as SIGTERM does.
    pub(crate) fn stop(self) -> Stopping {
        self.stop.send(()).expect("it is running");
        Stopping {
            issuer: self.issuer,
            store: self.store,
            list: self.list,
            served: self.served,
        }
    }
}

/// The example while it stops.
pub(crate) struct Stopping {
    issuer: Issuer,
    pub(crate) store: StoreScript,
    list: RevocationList,
    served: JoinHandle<Stopped>,
}

impl Stopping {
    /// Waits until it has stopped, and starts it again over the same list.
    pub(crate) async fn restart(self) -> (Stopped, Inside) {
        let stopped = self.served.await.expect("it stops");
        let inside = Inside::over(self.issuer, self.list, self.store).await;
        (stopped, inside)
    }
}
