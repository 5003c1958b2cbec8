//! Connections that write, and the settings of the store's own sessions.

use std::time::Duration;

use sqlx::{
    ConnectOptions, Connection, Executor, MySqlConnection, Row,
    mysql::{MySqlConnectOptions, MySqlRow},
};

use tower_revoke_core::Use;

use super::{
    error::{is_invalid_value, is_of_a_replica, kind, of_opening},
    sql::DIALECT,
};
use crate::{
    backend::{Digest, Event},
    batch::{self, Link as _},
    columns::Columns,
    error::{Kind, SqlStoreError},
    rules::USED_UP,
    value::end,
};

/// Returns the connect options of the store's own sessions. They switch off what the driver would
/// set by itself, since [`settings`] sets it together with the rest.
pub(super) fn options(given: &MySqlConnectOptions) -> MySqlConnectOptions {
    let options = given.clone();
    let options = options
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .set_names(false)
        .charset("utf8mb4");
    options.disable_statement_logging()
}

/// Returns the statements that set what our statements rely on, whatever the defaults of the
/// server.
pub(super) fn settings(within: Duration) -> String {
    let secs = within.as_secs().clamp(1, 3_600);
    let millis = within.as_millis().clamp(1, 3_600_000);
    format!(
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin, SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
         SESSION autocommit=1, SESSION completion_type=0, SESSION sql_safe_updates=0, \
         SESSION sql_select_limit=18446744073709551615, \
         SESSION innodb_lock_wait_timeout={secs}\
         /*M!100101 , SESSION max_statement_time={}.{:03}*/\
         /*!80000 , SESSION max_execution_time={millis}*/;\
         SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE",
        millis / 1_000,
        millis % 1_000,
    )
}

/// A connection that writes.
#[derive(Debug)]
pub(crate) struct Link {
    connection: MySqlConnection,
    /// The maximum length of a packet, in bytes.
    pub(super) packet: usize,
}

/// Returns the longest packet that the server accepts, less room for its header.
async fn packet(connection: &mut MySqlConnection) -> Result<usize, sqlx::Error> {
    let row = sqlx::raw_sql("SELECT @@max_allowed_packet");
    let row = connection.fetch_one(row).await?;
    let bytes: u64 = row.try_get_unchecked(0)?;
    Ok(usize::try_from(bytes)
        .unwrap_or(usize::MAX)
        .saturating_sub(64))
}

impl Link {
    pub(super) async fn open(
        given: &MySqlConnectOptions,
        request_timeout: Duration,
    ) -> Result<Self, sqlx::Error> {
        let mut connection = MySqlConnection::connect_with(&options(given)).await?;
        connection.execute(&*settings(request_timeout)).await?;
        let packet = packet(&mut connection).await?;
        Ok(Self { connection, packet })
    }

    pub(super) async fn close(self) {
        // An error doesn't matter: the server notices a closed socket by itself.
        let _ = self.connection.close().await;
    }

    /// Runs the statements of one packet at the opening of a store.
    pub(super) async fn ask_opening(
        &mut self,
        packet: &str,
    ) -> Result<Vec<MySqlRow>, SqlStoreError> {
        self.ask(packet).await.map_err(of_opening)
    }

    /// Returns one value of the first row, as a text; `None` if there is none.
    pub(super) async fn text(
        &mut self,
        statement: &str,
        place: usize,
    ) -> Result<Option<String>, SqlStoreError> {
        let rows = self.ask_opening(statement).await?;
        let text = rows.first().map(|row| row.text(place));
        Ok(text.and_then(Result::ok).flatten())
    }
}

impl batch::Link for Link {
    type Row = MySqlRow;

    fn kind(error: &sqlx::Error) -> Kind {
        kind(error)
    }

    fn is_read_only(error: &sqlx::Error) -> bool {
        is_of_a_replica(error)
    }

    fn packet(&self) -> usize {
        self.packet
    }

    async fn take_new(
        &mut self,
        statement: &str,
        mark: i64,
        uses: &[&Use],
    ) -> Result<(Vec<Digest>, Option<i64>), sqlx::Error> {
        let untils = || uses.iter().map(|use_| end(use_.until));
        let taken: Vec<Digest> = uses.iter().map(|use_| *use_.token.as_bytes()).collect();
        let rows = uses.iter().zip(untils()).map(|(use_, until)| {
            let row = DIALECT.row().bytes(Some(use_.token.as_bytes()));
            let row = row.int(1).int(1).int(until);
            row.bytes(Some(use_.id.as_bytes())).end()
        });
        let rows = rows.collect::<Vec<_>>().join(",");
        let earliest = untils().flatten().min();
        let earliest = earliest.map_or("NULL".to_owned(), |earliest| earliest.to_string());
        let event = Event {
            seq: 0,
            mark,
            what: USED_UP,
            digest: Digest::default(),
            issued: None,
            until: None,
            at: 0,
        };
        let event = event.end_of_row(DIALECT.rest_of_row(""), &taken, untils());
        let packet = statement
            .replace("{mark}", &mark.to_string())
            .replace("{earliest}", &earliest)
            .replace("{count}", &uses.len().to_string())
            .replace("{uses}", &rows)
            .replace("{event}", &event);
        if packet.len() > self.packet {
            return Ok((Vec::new(), None));
        }
        match self.ask(&packet).await {
            Ok(rows) => {
                let seq = rows.first().and_then(|row| row.number(0).ok());
                Ok((taken, seq))
            }
            Err(error) if is_invalid_value(&error) => Ok((Vec::new(), None)),
            Err(error) => Err(error),
        }
    }

    async fn ask(&mut self, packet: &str) -> Result<Vec<MySqlRow>, sqlx::Error> {
        self.connection.fetch_all(sqlx::raw_sql(packet)).await
    }
}
