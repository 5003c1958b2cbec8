//! Requests to the cluster, each with a deadline, until which it is repeated if its outcome is
//! unknown.

use std::{fmt, ops::ControlFlow, sync::Arc, time::Duration};

use scylla::{
    client::{execution_profile::ExecutionProfileHandle, session::Session},
    deserialize::row::DeserializeRow,
    errors::ExecutionError,
    response::{PagingState, query_result::QueryResult},
    serialize::row::SerializeRow,
    statement::{
        Consistency, SerialConsistency, Statement,
        batch::{Batch, BatchType},
        prepared::PreparedStatement,
    },
    value::CqlValue,
};
use tokio::time::Instant;

use crate::error::{Failure, is_worth_repeating};

/// The first pause before a request is repeated, and the longest.
const PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(128);

/// Values of a statement in a batch.
pub(crate) type Values = Vec<Option<CqlValue>>;

/// When an answer must have arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    within: Duration,
}

impl Deadline {
    pub(crate) fn after(within: Duration) -> Self {
        Self {
            at: Instant::now() + within,
            within,
        }
    }

    /// Waits until the deadline.
    pub(crate) async fn bound<T>(self, waited: impl Future<Output = T>) -> Result<T, Failure> {
        let waited = tokio::time::timeout_at(self.at, waited).await;
        waited.map_err(|_| Failure::TimedOut(self.within))
    }
}

pub(crate) struct Client {
    pub(crate) session: Arc<Session>,
    /// Set on every statement, since the session may be the user's.
    pub(crate) profile: ExecutionProfileHandle,
    pub(crate) serial: SerialConsistency,
    pub(crate) request_timeout: Duration,
}

impl Client {
    /// The consistency of reads that complete unfinished conditional writes and see their effects.
    pub(crate) fn serial_read(&self) -> Consistency {
        match self.serial {
            SerialConsistency::Serial => Consistency::Serial,
            SerialConsistency::LocalSerial => Consistency::LocalSerial,
        }
    }

    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.request_timeout)
    }

    /// Executes a statement that may be executed twice, until there is an answer.
    pub(crate) async fn execute(
        &self,
        deadline: Deadline,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<QueryResult, Failure> {
        with_retries(deadline, || {
            self.session.execute_unpaged(statement, &values)
        })
        .await
    }

    /// Executes a statement that is needed only once.
    pub(crate) async fn query(
        &self,
        deadline: Deadline,
        text: impl Into<String>,
        values: impl SerializeRow,
    ) -> Result<QueryResult, Failure> {
        let mut statement = Statement::new(text);
        statement.set_execution_profile_handle(Some(self.profile.clone()));
        let answer = deadline.bound(self.session.query_unpaged(statement, values));
        answer.await?.map_err(Failure::driver)
    }

    /// Executes a statement, and returns the rows.
    pub(crate) async fn rows<R: RowOwned>(
        &self,
        deadline: Deadline,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Vec<R>, Failure> {
        let answer = self.execute(deadline, statement, values).await?;
        rows_of(answer)
    }

    /// One page of the rows, and the paging state of the next one. `page` is empty for the first.
    pub(crate) async fn page<R: RowOwned>(
        &self,
        deadline: Deadline,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        page: &[u8],
    ) -> Result<(Vec<R>, Option<Vec<u8>>), Failure> {
        let state = match page {
            [] => PagingState::start(),
            page => PagingState::new_from_raw_bytes(page),
        };
        let (answer, next) = with_retries(deadline, || {
            self.session
                .execute_single_page(statement, &values, state.clone())
        })
        .await?;
        let next = match next.into_paging_control_flow() {
            ControlFlow::Continue(next) => next.as_bytes_slice().map(|next| next.to_vec()),
            ControlFlow::Break(()) => None,
        };
        Ok((rows_of(answer)?, next))
    }

    /// Executes several statements on one partition: all or none.
    pub(crate) async fn execute_batch(
        &self,
        deadline: Deadline,
        statements: Vec<(PreparedStatement, Values)>,
    ) -> Result<QueryResult, Failure> {
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_execution_profile_handle(Some(self.profile.clone()));
        let mut values = Vec::with_capacity(statements.len());
        for (statement, its_values) in statements {
            batch.append_statement(statement);
            values.push(its_values);
        }
        with_retries(deadline, || self.session.batch(&batch, &values)).await
    }
}

/// A row that borrows nothing from the answer.
pub(crate) trait RowOwned: for<'a, 'b> DeserializeRow<'a, 'b> {}

impl<R: for<'a, 'b> DeserializeRow<'a, 'b>> RowOwned for R {}

pub(crate) fn rows_of<R: RowOwned>(answer: QueryResult) -> Result<Vec<R>, Failure> {
    let rows = answer.into_rows_result().map_err(Failure::driver)?;
    let rows = rows.rows::<R>().map_err(Failure::driver)?;
    rows.collect::<Result<_, _>>().map_err(Failure::driver)
}

/// Whether a conditional write was applied.
pub(crate) fn was_applied(answer: QueryResult) -> Result<bool, Failure> {
    let rows = answer.into_rows_result().map_err(Failure::driver)?;
    let row = rows
        .maybe_first_row::<scylla::value::Row>()
        .map_err(Failure::driver)?;
    let first = row.and_then(|row| row.columns.into_iter().next().flatten());
    match first {
        Some(CqlValue::Boolean(applied)) => Ok(applied),
        _ => Err(Failure::Malformed("the answer to a write with a condition")),
    }
}

async fn with_retries<T, F>(deadline: Deadline, ask: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, ExecutionError>>,
{
    let mut pause = PAUSE;
    loop {
        // Boxed, since the driver's futures take 8 kB each.
        match deadline.bound(Box::pin(ask())).await? {
            Ok(answer) => return Ok(answer),
            Err(error) if is_worth_repeating(&error) => {
                tracing::debug!(
                    target: "tower_revoke::store_cassandra",
                    %error,
                    "a request is repeated"
                );
                deadline.bound(tokio::time::sleep(pause)).await?;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
            Err(error) => return Err(Failure::driver(error)),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("serial_consistency", &self.serial)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}
