//! An upstream that records every byte it receives and parses messages strictly by RFC 9112.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// A message as it arrived. Bytes outside of any message are recorded as a message of their own.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The head including the empty line, or whatever arrived of it.
    pub(crate) head: String,
    /// The body as it was framed: chunks, their sizes and trailers.
    pub(crate) body: String,
    /// Whether the message is complete.
    pub(crate) is_whole: bool,
}

impl Seen {
    /// Returns the values of a header, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1);
        lines
            .filter_map(|line| line.split_once(": "))
            .filter_map(|(given, value)| given.eq_ignore_ascii_case(name).then_some(value))
            .collect()
    }

    pub(crate) fn request_line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }
}

/// How the upstream handles a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Sends this after the whole request, and reads on.
    Answer(&'static str),
    /// Sends this after the whole request, and closes.
    AnswerAndClose(&'static str),
    /// Sends this after the head, and nothing more.
    AnswerTheHead(&'static str),
    /// Sends this after the head, then echoes the bytes that arrive. `ACCEPT` stands for the answer to the
    /// key of a WebSocket.
    Echo(&'static str),
}

/// The answer that most tests use.
pub(crate) const OK: Act = Act::Answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");

#[derive(Debug)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    /// The number of heads received, and of open connections.
    counts: watch::Sender<(usize, usize)>,
}

#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Upstream {
    pub(crate) async fn start(act: Act) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = socket.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            counts: watch::Sender::default(),
        });
        let mut tasks = JoinSet::new();
        let of_all = shared.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = socket.accept().await.expect("a connection");
                let (shared, act) = (of_all.clone(), act.clone());
                shared.counts.send_modify(|(_, open)| *open += 1);
                connections.spawn(async move {
                    let connection = Connection {
                        stream,
                        unread: Vec::new(),
                        shared: shared.clone(),
                    };
                    connection.serve(act).await;
                    shared.counts.send_modify(|(_, open)| *open -= 1);
                });
            }
        });
        Self {
            addr,
            shared,
            _tasks: tasks,
        }
    }

    /// Waits for the head of the n-th request.
    pub(crate) async fn heads(&self, n: usize) {
        let mut counts = self.shared.counts.subscribe();
        let enough = counts.wait_for(|(heads, _)| *heads >= n).await;
        enough.expect("the sender is ours");
    }

    /// Waits until all connections are closed.
    pub(crate) async fn is_alone(&self) {
        let mut counts = self.shared.counts.subscribe();
        let alone = counts.wait_for(|(_, open)| *open == 0).await;
        alone.expect("the sender is ours");
    }

    /// Returns all messages of ended connections.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let seen = self.shared.seen.lock();
        seen.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    shared: Arc<Shared>,
}

impl Connection {
    async fn serve(mut self, act: Act) {
        loop {
            let Some(end) = self.find(0, b"\r\n\r\n").await else {
                if !self.unread.is_empty() {
                    self.note(self.unread.len(), self.unread.len(), false);
                }
                return;
            };
            self.shared.counts.send_modify(|(heads, _)| *heads += 1);
            match &act {
                Act::AnswerTheHead(answer) => {
                    self.send(answer).await;
                    // Until the other side closes.
                    while self.fill().await {}
                    self.note(end, self.unread.len(), false);
                    return;
                }
                Act::Echo(answer) => {
                    let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                    let key =
                        |line: &str| line.strip_prefix("sec-websocket-key: ").map(str::to_owned);
                    let key = head.lines().find_map(key).unwrap_or_default();
                    let accept = derive_accept_key(key.as_bytes());
                    self.send(&answer.replace("ACCEPT", &accept)).await;
                    let mut back = self.unread.split_off(end);
                    self.note(end, end, true);
                    loop {
                        if self.stream.write_all(&back).await.is_err() {
                            return;
                        }
                        back.clear();
                        match self.stream.read_buf(&mut back).await {
                            Ok(1..) => {}
                            _ => return,
                        }
                    }
                }
                Act::Answer(_) | Act::AnswerAndClose(_) => {}
            }
            let Some(all) = self.message(end).await else {
                self.note(end, self.unread.len(), false);
                return;
            };
            self.note(end, all, true);
            match &act {
                Act::Answer(answer) => self.send(answer).await,
                Act::AnswerAndClose(answer) => {
                    self.send(answer).await;
                    return;
                }
                Act::AnswerTheHead(_) | Act::Echo(_) => unreachable!("handled above"),
            }
        }
    }

    /// Returns where the message whose head ends at `end` ends.
    async fn message(&mut self, end: usize) -> Option<usize> {
        let head = String::from_utf8_lossy(&self.unread[..end]).to_lowercase();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        if let Some(coding) = field("transfer-encoding: ") {
            assert_eq!(coding, "chunked");
            return self.chunks(end).await;
        }
        let length = field("content-length: ").map_or(Some(0), |length| length.parse().ok());
        let all = end + length.expect("a length");
        while self.unread.len() < all {
            self.fill().await.then_some(())?;
        }
        Some(all)
    }

    async fn chunks(&mut self, mut at: usize) -> Option<usize> {
        loop {
            let line = self.find(at, b"\r\n").await?;
            let size = std::str::from_utf8(&self.unread[at..line - 2]).expect("a size");
            let size = usize::from_str_radix(size, 16).expect("a size");
            if size == 0 {
                // An empty line, or trailers and an empty line.
                return self.find(line - 2, b"\r\n\r\n").await;
            }
            at = line + size + 2;
            while self.unread.len() < at {
                self.fill().await.then_some(())?;
            }
            assert_eq!(&self.unread[at - 2..at], b"\r\n");
        }
    }

    /// Returns where the next `mark` ends.
    async fn find(&mut self, from: usize, mark: &[u8]) -> Option<usize> {
        loop {
            let unread = self.unread.get(from..).unwrap_or_default();
            let found = unread.windows(mark.len()).position(|bytes| bytes == mark);
            if let Some(found) = found {
                return Some(from + found + mark.len());
            }
            self.fill().await.then_some(())?;
        }
    }

    /// Reads more; returns whether anything arrived.
    async fn fill(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.unread).await, Ok(1..))
    }

    /// Sends `answer`. The other side may have closed.
    async fn send(&mut self, answer: &str) {
        let _ = self.stream.write_all(answer.as_bytes()).await;
    }

    fn note(&mut self, head: usize, all: usize, is_whole: bool) {
        let message: Vec<u8> = self.unread.drain(..all).collect();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let seen = Seen {
            head: text(&message[..head]),
            body: text(&message[head..]),
            is_whole,
        };
        let all = self.shared.seen.lock();
        all.unwrap_or_else(PoisonError::into_inner).push(seen);
    }
}
