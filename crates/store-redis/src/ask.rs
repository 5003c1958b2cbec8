//! One question to the server of a tag: bounded in time, asked again where that is safe.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value, cmd};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    address::Address,
    error::{Failure, RedisStoreError},
    link::Live,
    route::{Lane, Node, Route},
    scripts::load_all,
};

/// A question is put at most so often, and only where the server is known not to have acted on it,
/// or where it may act twice.
const ATTEMPTS: usize = 4;

/// Keys that are just being moved are asked for again after so long.
const PAUSE: Duration = Duration::from_millis(20);

/// A command on the keys of one tag. It is one: while a slot moves, a server may send away some
/// commands and not others, and the one to which they are sent has no more than those.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) command: Cmd,
    /// Whether it may be asked again when nobody knows what became of it.
    pub(crate) repeatable: bool,
    /// Whether replicas are waited for.
    pub(crate) writes: bool,
}

impl Question {
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
pub(crate) struct Asker {
    pub(crate) route: Route,
    pub(crate) within: Duration,
    /// How many replicas must have a write, and how long they have for it.
    pub(crate) replicas: Option<(u32, Duration)>,
}

/// What to do about an error.
enum Then {
    /// The server did not act: ask it again, or who has the tag now.
    Again,
    /// The same, on a new connection.
    Reconnect,
    /// It may be cut off: ask once who is the primary now.
    Elsewhere,
    /// Ask this server.
    Redirect { to: Address, for_good: bool },
    /// The server does not know the scripts.
    Teach,
    /// The keys are on their way.
    Wait,
    /// The connection broke: nobody knows whether the server acted.
    Unknown,
    /// Nothing: it has no room.
    Full,
    /// Nothing.
    Fail,
}

impl Asker {
    /// Connects to the server of a tag, and says what is wrong with it.
    pub(crate) async fn reach(&self, tag: usize) -> Result<(), RedisStoreError> {
        let node = self.route.node(tag).await?;
        self.route.live(&node, Lane::Asks).await.map(|_| ())
    }

    /// The answer to the command.
    pub(crate) async fn ask(&self, tag: usize, question: &Question) -> Result<Value, Failure> {
        let started = Instant::now();
        let deadline = started + self.within;
        let lane = if question.writes && self.replicas.is_some() {
            Lane::Writes
        } else {
            Lane::Asks
        };
        let mut redirected: Option<(Arc<Node>, bool)> = None;
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let (node, asking) = match redirected.take() {
                Some((node, for_good)) => (node, !for_good),
                None => match timeout_at(deadline, self.route.node(tag)).await {
                    Ok(node) => (node?, false),
                    Err(_) => return Err(self.timed_out()),
                },
            };
            let live = match timeout_at(deadline, self.route.live(&node, lane)).await {
                Ok(Ok(live)) => live,
                Ok(Err(error)) => {
                    self.route.suspect();
                    if !self.route.moves() || last.is_some() {
                        return Err(error.into());
                    }
                    last = Some(error.into());
                    continue;
                }
                Err(_) => {
                    self.route.suspect();
                    return Err(self.timed_out());
                }
            };
            let sent = Instant::now();
            let answered = timeout_at(deadline, self.put(&live, question, asking)).await;
            let error = match answered {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => {
                    // One that had little time left says nothing about the connection.
                    if sent.elapsed() * 2 >= self.within {
                        self.give_up(&node, lane, &live);
                    }
                    return Err(self.timed_out());
                }
            };
            let error = match error {
                Put::Rejected(error) => error,
                Put::Failed(failure) => {
                    if self.route.moves() {
                        self.give_up(&node, lane, &live);
                    }
                    return Err(failure);
                }
            };
            match then(&error, &live.node) {
                Then::Again => self.route.suspect(),
                Then::Reconnect => self.give_up(&node, lane, &live),
                Then::Elsewhere if self.route.moves() && last.is_none() => {
                    self.give_up(&node, lane, &live);
                }
                Then::Elsewhere => return Err(of(&error, &live)),
                Then::Redirect { to, for_good } => {
                    redirected = Some((self.route.moved(tag, &to, for_good), for_good));
                }
                Then::Teach => {
                    let scripts: Vec<_> = load_all().collect();
                    if timeout_at(deadline, live.send(&scripts)).await.is_err() {
                        return Err(self.timed_out());
                    }
                }
                Then::Wait => sleep_until(deadline.min(Instant::now() + PAUSE)).await,
                Then::Unknown if question.repeatable => self.give_up(&node, lane, &live),
                Then::Unknown => {
                    self.give_up(&node, lane, &live);
                    return Err(of(&error, &live));
                }
                Then::Full => return Err(Failure::Full),
                Then::Fail => return Err(of(&error, &live)),
            }
            last = Some(of(&error, &live));
        }
        Err(last.unwrap_or_else(|| self.timed_out()))
    }

    /// The answers to commands that read, asked at the same time and each by itself.
    pub(crate) async fn each<const N: usize>(
        &self,
        tag: usize,
        commands: [Cmd; N],
    ) -> Result<Vec<Value>, Failure> {
        let questions = commands.map(Question::read);
        let asked = questions.iter().map(|question| self.ask(tag, question));
        try_join_all(asked).await
    }

    async fn put(&self, live: &Live, question: &Question, asking: bool) -> Result<Value, Put> {
        let mut answers = if asking {
            live.send(&[cmd("ASKING"), question.command.clone()])
                .await?
        } else {
            live.send(std::slice::from_ref(&question.command)).await?
        };
        let none = RedisStoreError::Garbled("an answer without a value");
        let answer = answers.pop().ok_or_else(|| Put::Failed(none.into()))?;
        if let Some((wanted, within)) = self.replicas.filter(|_| question.writes) {
            let acknowledged = live.acknowledged(wanted, within).await?;
            if acknowledged < wanted {
                return Err(Put::Failed(
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

    fn give_up(&self, node: &Node, lane: Lane, live: &Live) {
        if node.link(lane).broken(live) && self.route.moves() {
            // Both lead to the same server again, whichever it is now.
            node.forget();
        }
        self.route.suspect();
    }

    fn timed_out(&self) -> Failure {
        Failure::TimedOut(self.within)
    }
}

enum Put {
    Rejected(RedisError),
    Failed(Failure),
}

impl From<RedisError> for Put {
    fn from(error: RedisError) -> Self {
        Self::Rejected(error)
    }
}

fn of(error: &RedisError, live: &Live) -> Failure {
    RedisStoreError::of_driver(&live.node.to_string(), error.clone()).into()
}

fn then(error: &RedisError, node: &Address) -> Then {
    let redirect = |for_good| {
        let to = error.redirect_node();
        let to = to.and_then(|(to, _)| Address::redirected(to, node));
        to.map_or(Then::Again, |to| Then::Redirect { to, for_good })
    };
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::Moved) => redirect(true),
        ErrorKind::Server(ServerErrorKind::Ask) => redirect(false),
        ErrorKind::Server(ServerErrorKind::TryAgain) => Then::Wait,
        // One that is cut off from the others does not know who has the tag now.
        ErrorKind::Server(ServerErrorKind::ClusterDown) => Then::Again,
        ErrorKind::Server(ServerErrorKind::NoScript) => Then::Teach,
        // It was the primary once.
        ErrorKind::Server(ServerErrorKind::ReadOnly) => Then::Reconnect,
        _ if error.code() == Some("NOREPLICAS") => Then::Elsewhere,
        _ if error.code() == Some("OOM") => Then::Full,
        // A server whose role changes sends everybody away who waits for its replicas.
        _ if error.code() == Some("UNBLOCKED") => Then::Unknown,
        _ if error.is_io_error() || error.is_unrecoverable_error() => Then::Unknown,
        _ => Then::Fail,
    }
}
