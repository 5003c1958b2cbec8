//! A request to the server of a tag, with a timeout, and with retries where they are safe.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value, cmd};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    address::Address,
    connection::Connection,
    error::{Failure, RedisStoreError},
    scripts::{SCRIPTS, load_all},
    servers::{Node, Purpose, Servers},
};

/// How often a request is sent. It is repeated only if the server did not execute it, or if it may
/// be executed twice.
const ATTEMPTS: usize = 4;

/// The pause before keys that are being migrated are requested again.
const PAUSE: Duration = Duration::from_millis(20);

/// One command on the keys of one tag. More would not be safe: while a slot migrates, a server may
/// redirect some commands of a pipeline and execute the others.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) command: Cmd,
    /// Whether it may be repeated if its outcome is unknown.
    pub(crate) repeatable: bool,
    /// Whether it waits for replicas.
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

/// Sends requests.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) servers: Servers,
    pub(crate) within: Duration,
    /// How many replicas must acknowledge a write, and within what time.
    pub(crate) replicas: Option<(u32, Duration)>,
}

/// What to do after an error.
enum Recovery {
    /// The server did not execute the request: repeat it, there or at the new owner of the tag.
    Again,
    /// The same, over a new connection.
    Reconnect,
    /// The server may be partitioned: look for the current primary, once.
    FindPrimary,
    /// Send it to this server.
    Redirect { to: Address, for_good: bool },
    /// The server doesn't have the scripts.
    LoadScripts,
    /// The keys are being migrated.
    Wait,
    /// The connection broke: the outcome is unknown.
    Unknown,
    /// Give up: its memory is full.
    Full,
    /// Give up.
    Fail,
}

impl Client {
    /// Connects to the server of a tag, and checks it.
    pub(crate) async fn reach(&self, tag: usize) -> Result<(), RedisStoreError> {
        let node = self.servers.node(tag).await?;
        self.servers
            .connection(&node, Purpose::Requests)
            .await
            .map(|_| ())
    }

    /// Sends a request and returns the answer.
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
            let answered = timeout_at(deadline, self.send(&live, tag, request, asking)).await;
            let error = match answered {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => {
                    // After a long wait for the connection, a timeout says nothing about it.
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
                    let loaded = Box::pin(live.send(&scripts));
                    if timeout_at(deadline, loaded).await.is_err() {
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

    /// Sends reading commands concurrently and independently, and returns their answers.
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
        tag: usize,
        request: &Request,
        asking: bool,
    ) -> Result<Value, SendError> {
        let asking = asking.then(|| cmd("ASKING"));
        let sent = |command: &Cmd| asking.iter().chain([command]).cloned().collect::<Vec<_>>();
        let mut answers = live.send(&sent(&request.command)).await?;
        let none = RedisStoreError::Malformed("an answer without a value");
        let answer = answers
            .pop()
            .ok_or_else(|| SendError::Failed(none.into()))?;
        if let Some((wanted, within)) = self.replicas.filter(|_| request.writes) {
            let mark = sent(&SCRIPTS.mark.on(&[self.servers.key(tag)]));
            let acknowledged = Box::pin(live.acknowledged(&mark, wanted, within)).await;
            let acknowledged = acknowledged.map_err(|error| match request.repeatable {
                true => SendError::Rejected(error),
                // It was executed.
                false => SendError::Failed(failure(&error, live)),
            })?;
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
            // Both connections of a node must lead to the same server.
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
        // A partitioned server does not know the current owner.
        ErrorKind::Server(ServerErrorKind::ClusterDown) => Recovery::Again,
        ErrorKind::Server(ServerErrorKind::NoScript) => Recovery::LoadScripts,
        // It is no longer the primary.
        ErrorKind::Server(ServerErrorKind::ReadOnly) => Recovery::Reconnect,
        _ if error.code() == Some("NOREPLICAS") => Recovery::FindPrimary,
        _ if error.code() == Some("OOM") => Recovery::Full,
        // A server whose role changes ends all blocked commands.
        _ if error.code() == Some("UNBLOCKED") => Recovery::Unknown,
        _ if error.is_io_error() || error.is_unrecoverable_error() => Recovery::Unknown,
        _ => Recovery::Fail,
    }
}
