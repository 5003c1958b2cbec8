//! One request to the server of a tag: bounded in time, asked again where that is safe.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value, cmd};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    address::Address,
    connection::Connection,
    error::{Failure, RedisStoreError},
    scripts::load_all,
    servers::{Node, Purpose, Servers},
};

/// A request is put at most so often, and only where the server is known not to have acted on it,
/// or where it may act twice.
const ATTEMPTS: usize = 4;

/// Keys that are just being moved are asked for again after so long.
const PAUSE: Duration = Duration::from_millis(20);

/// A command on the keys of one tag. It is one: while a slot moves, a server may send away some
/// commands and not others, and the one to which they are sent has no more than those.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) command: Cmd,
    /// Whether it may be asked again when nobody knows what became of it.
    pub(crate) repeatable: bool,
    /// Whether replicas are waited for.
    pub(crate) writes: bool,
}

impl Request {
    pub(crate) fn read(command: Cmd) -> Self {
        Self {
            command,
            repeatable: true,
            writes: false,
        }
    }

    pub(crate) fn write(command: Cmd) -> Self {
        Self {
            command,
            repeatable: true,
            writes: true,
        }
    }

    pub(crate) fn once(mut self) -> Self {
        self.repeatable = false;
        self
    }
}

/// Asks, with what a user has set.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) servers: Servers,
    pub(crate) within: Duration,
    /// How many replicas must have a write, and how long they have for it.
    pub(crate) replicas: Option<(u32, Duration)>,
}

/// What to do about an error.
enum Recovery {
    /// The server did not act: ask it again, or who has the tag now.
    Again,
    /// The same, on a new connection.
    Reconnect,
    /// It may be cut off: ask once who is the primary now.
    FindPrimary,
    /// Ask this server.
    Redirect { to: Address, for_good: bool },
    /// The server does not know the scripts.
    LoadScripts,
    /// The keys are on their way.
    Wait,
    /// The connection broke: nobody knows whether the server acted.
    Unknown,
    /// Nothing: it has no room.
    Full,
    /// Nothing.
    Fail,
}

impl Client {
    /// Connects to the server of a tag, and says what is wrong with it.
    pub(crate) async fn reach(&self, tag: usize) -> Result<(), RedisStoreError> {
        let node = self.servers.node(tag).await?;
        self.servers
            .connection(&node, Purpose::Requests)
            .await
            .map(|_| ())
    }

    /// The answer to the command.
    pub(crate) async fn ask(&self, tag: usize, request: &Request) -> Result<Value, Failure> {
        let started = Instant::now();
        let deadline = started + self.within;
        let purpose = if request.writes && self.replicas.is_some() {
            Purpose::Writes
        } else {
            Purpose::Requests
        };
        let mut redirected: Option<(Arc<Node>, bool)> = None;
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let (node, asking) = match redirected.take() {
                Some((node, for_good)) => (node, !for_good),
                None => match timeout_at(deadline, self.servers.node(tag)).await {
                    Ok(node) => (node?, false),
                    Err(_) => return Err(self.timed_out()),
                },
            };
            let live = match timeout_at(deadline, self.servers.connection(&node, purpose)).await {
                Ok(Ok(live)) => live,
                Ok(Err(error)) => {
                    self.servers.suspect();
                    if !self.servers.moves() || last.is_some() {
                        return Err(error.into());
                    }
                    last = Some(error.into());
                    continue;
                }
                Err(_) => {
                    self.servers.suspect();
                    return Err(self.timed_out());
                }
            };
            let sent = Instant::now();
            let answered = timeout_at(deadline, self.send(&live, request, asking)).await;
            let error = match answered {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => {
                    // One that had little time left says nothing about the connection.
                    if sent.elapsed() * 2 >= self.within {
                        self.give_up(&node, purpose, &live);
                    }
                    return Err(self.timed_out());
                }
            };
            let error = match error {
                SendError::Rejected(error) => error,
                SendError::Failed(failure) => {
                    if self.servers.moves() {
                        self.give_up(&node, purpose, &live);
                    }
                    return Err(failure);
                }
            };
            match recovery(&error, &live.node) {
                Recovery::Again => self.servers.suspect(),
                Recovery::Reconnect => self.give_up(&node, purpose, &live),
                Recovery::FindPrimary if self.servers.moves() && last.is_none() => {
                    self.give_up(&node, purpose, &live);
                }
                Recovery::FindPrimary => return Err(failure(&error, &live)),
                Recovery::Redirect { to, for_good } => {
                    redirected = Some((self.servers.moved(tag, &to, for_good), for_good));
                }
                Recovery::LoadScripts => {
                    let scripts: Vec<_> = load_all().collect();
                    if timeout_at(deadline, live.send(&scripts)).await.is_err() {
                        return Err(self.timed_out());
                    }
                }
                Recovery::Wait => sleep_until(deadline.min(Instant::now() + PAUSE)).await,
                Recovery::Unknown if request.repeatable => self.give_up(&node, purpose, &live),
                Recovery::Unknown => {
                    self.give_up(&node, purpose, &live);
                    return Err(failure(&error, &live));
                }
                Recovery::Full => return Err(Failure::Full),
                Recovery::Fail => return Err(failure(&error, &live)),
            }
            last = Some(failure(&error, &live));
        }
        Err(last.unwrap_or_else(|| self.timed_out()))
    }

    /// The answers to commands that read, asked at the same time and each by itself.
    pub(crate) async fn each<const N: usize>(
        &self,
        tag: usize,
        commands: [Cmd; N],
    ) -> Result<Vec<Value>, Failure> {
        let requests = commands.map(Request::read);
        let asked = requests.iter().map(|request| self.ask(tag, request));
        try_join_all(asked).await
    }

    async fn send(
        &self,
        live: &Connection,
        request: &Request,
        asking: bool,
    ) -> Result<Value, SendError> {
        let mut answers = if asking {
            live.send(&[cmd("ASKING"), request.command.clone()]).await?
        } else {
            live.send(std::slice::from_ref(&request.command)).await?
        };
        let none = RedisStoreError::Malformed("an answer without a value");
        let answer = answers
            .pop()
            .ok_or_else(|| SendError::Failed(none.into()))?;
        if let Some((wanted, within)) = self.replicas.filter(|_| request.writes) {
            let acknowledged = live.acknowledged(wanted, within).await?;
            if acknowledged < wanted {
                return Err(SendError::Failed(
                    RedisStoreError::TooFewReplicas {
                        acknowledged,
                        wanted,
                    }
                    .into(),
                ));
            }
        }
        Ok(answer)
    }

    fn give_up(&self, node: &Node, purpose: Purpose, live: &Connection) {
        if node.shared(purpose).broken(live) && self.servers.moves() {
            // Both lead to the same server again, whichever it is now.
            node.forget();
        }
        self.servers.suspect();
    }

    fn timed_out(&self) -> Failure {
        Failure::TimedOut(self.within)
    }
}

enum SendError {
    Rejected(RedisError),
    Failed(Failure),
}

impl From<RedisError> for SendError {
    fn from(error: RedisError) -> Self {
        Self::Rejected(error)
    }
}

fn failure(error: &RedisError, live: &Connection) -> Failure {
    RedisStoreError::of_driver(&live.node.to_string(), error.clone()).into()
}

fn recovery(error: &RedisError, node: &Address) -> Recovery {
    let redirect = |for_good| {
        let to = error.redirect_node();
        let to = to.and_then(|(to, _)| Address::redirected(to, node));
        to.map_or(Recovery::Again, |to| Recovery::Redirect { to, for_good })
    };
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::Moved) => redirect(true),
        ErrorKind::Server(ServerErrorKind::Ask) => redirect(false),
        ErrorKind::Server(ServerErrorKind::TryAgain) => Recovery::Wait,
        // One that is cut off from the others does not know who has the tag now.
        ErrorKind::Server(ServerErrorKind::ClusterDown) => Recovery::Again,
        ErrorKind::Server(ServerErrorKind::NoScript) => Recovery::LoadScripts,
        // It was the primary once.
        ErrorKind::Server(ServerErrorKind::ReadOnly) => Recovery::Reconnect,
        _ if error.code() == Some("NOREPLICAS") => Recovery::FindPrimary,
        _ if error.code() == Some("OOM") => Recovery::Full,
        // A server whose role changes sends everybody away who waits for its replicas.
        _ if error.code() == Some("UNBLOCKED") => Recovery::Unknown,
        _ if error.is_io_error() || error.is_unrecoverable_error() => Recovery::Unknown,
        _ => Recovery::Fail,
    }
}
