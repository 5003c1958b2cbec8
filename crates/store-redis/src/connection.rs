//! A connection that all requests share, and that is replaced when it breaks.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{Cmd, Pipeline, RedisResult, Value, aio::MultiplexedConnection, cmd};
use tokio::time::Instant;

use crate::{address::Address, error::RedisStoreError};

/// How long the error of a failed attempt is returned to everybody before the next attempt.
const PAUSE: Duration = Duration::from_millis(50);

/// A connection that is not known to be broken.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) node: Address,
    connection: MultiplexedConnection,
    number: u64,
    rounds: ReplicaWaits,
}

/// Waiting for replicas: one `WAIT` counts for all writes that were answered before it was sent.
#[derive(Debug, Default)]
struct ReplicaWaits {
    begun: AtomicU64,
    /// The number of the last round that ended, and how many replicas it found.
    last: tokio::sync::Mutex<(u64, u32)>,
}

impl Connection {
    /// Returns the answers to the commands, or the first error among them.
    pub(crate) async fn send(&self, commands: &[Cmd]) -> RedisResult<Vec<Value>> {
        let mut connection = self.connection.clone();
        if let [command] = commands {
            let answer = connection.send_packed_command(command).await?;
            return Ok(vec![answer.extract_error()?]);
        }
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command.clone());
        }
        let answers = connection
            .send_packed_commands(&pipeline, 0, commands.len())
            .await?;
        answers.into_iter().map(Value::extract_error).collect()
    }

    /// Returns how many replicas have all writes that were answered on this connection so far, and all
    /// that their answers rely on.
    ///
    /// `mark` writes something. Since Redis 7.2, `WAIT` waits only for what its own connection wrote:
    /// nothing, if what it was asked to write had been written before over one that broke.
    pub(crate) async fn acknowledged(
        &self,
        mark: &[Cmd],
        wanted: u32,
        within: Duration,
    ) -> RedisResult<u32> {
        let before = self.rounds.begun.load(Ordering::Acquire);
        let mut last = self.rounds.last.lock().await;
        if last.0 > before {
            return Ok(last.1);
        }
        let round = self.rounds.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let mut wait = cmd("WAIT");
        wait.arg(wanted).arg(within.as_millis().max(1) as u64);
        let answers = self.send(&[mark, &[wait]].concat()).await?;
        let found = match answers.last() {
            Some(Value::Int(found)) => u32::try_from(*found).unwrap_or(0),
            _ => 0,
        };
        *last = (round, found);
        Ok(found)
    }
}

/// A slot for a connection, with what is needed to replace it.
#[derive(Debug, Default)]
pub(crate) struct SharedConnection {
    state: Mutex<State>,
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    live: Option<Arc<Connection>>,
    made: u64,
    failed: Option<(Instant, RedisStoreError)>,
}

impl SharedConnection {
    /// Returns the connection, or a new one by `connect`, which one caller runs for all.
    pub(crate) async fn connection<F>(
        &self,
        connect: impl FnOnce() -> F,
    ) -> Result<Arc<Connection>, RedisStoreError>
    where
        F: Future<Output = Result<(Address, MultiplexedConnection), RedisStoreError>>,
    {
        if let Some(known) = self.known() {
            return known;
        }
        let _one = self.connecting.lock().await;
        if let Some(known) = self.known() {
            return known;
        }
        let connected = connect().await;
        let mut state = self.state();
        match connected {
            Ok((node, connection)) => {
                state.made += 1;
                state.failed = None;
                let live = Arc::new(Connection {
                    node,
                    connection,
                    number: state.made,
                    rounds: ReplicaWaits::default(),
                });
                state.live = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn known(&self) -> Option<Result<Arc<Connection>, RedisStoreError>> {
        let state = self.state();
        if let Some(live) = &state.live {
            return Some(Ok(live.clone()));
        }
        let (at, error) = state.failed.as_ref()?;
        (at.elapsed() < PAUSE).then(|| Err(error.clone()))
    }

    /// Drops the connection, unless it was replaced already, which returns `false`.
    pub(crate) fn broken(&self, live: &Connection) -> bool {
        let mut state = self.state();
        let taken = state.live.take_if(|now| now.number == live.number);
        taken.is_some()
    }

    /// Drops the connection.
    pub(crate) fn forget(&self) {
        self.state().live = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
