//! Connections that write, and the settings that the store relies on.

use std::time::Duration;

use sqlx::{
    ConnectOptions, Connection, Executor, MySqlConnection, Row,
    mysql::{MySqlConnectOptions, MySqlRow},
};

use super::{
    error::{is_of_a_replica, kind, of_opening},
    sql::AT_EASE,
};
use crate::error::{Failure, Kind, SqlStoreError};

/// The connect options of our own sessions: what the driver would set is among our [`settings`].
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

/// What our statements rely on, whatever the defaults of the server are.
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
    /// How long a packet may be.
    pub(super) packet: usize,
}

/// How long a packet the server takes, less some room for what surrounds it.
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
        // The server would notice by itself.
        let _ = self.connection.close().await;
    }

    /// Runs one packet of statements; the rows of all of them.
    pub(super) async fn ask(&mut self, packet: &str) -> Result<Vec<MySqlRow>, sqlx::Error> {
        self.connection.fetch_all(sqlx::raw_sql(packet)).await
    }

    /// As [`ask`](Self::ask), while the store is opened.
    pub(super) async fn ask_opening(
        &mut self,
        packet: &str,
    ) -> Result<Vec<MySqlRow>, SqlStoreError> {
        self.ask(packet).await.map_err(of_opening)
    }

    /// Takes the lock and reads. Nothing is written yet, so the outcome is known if this fails.
    pub(super) async fn begin(&mut self, packets: &[String]) -> Result<Vec<MySqlRow>, Failure> {
        let mut rows = Vec::new();
        for packet in packets {
            match self.ask(packet).await {
                Ok(more) => rows.extend(more),
                Err(error) => return Err(self.give_up(error, true).await),
            }
        }
        Ok(rows)
    }

    /// Writes, up to the commit in the last packet.
    pub(super) async fn end(&mut self, packets: &[String]) -> Result<(), Failure> {
        for (place, packet) in packets.iter().enumerate() {
            if let Err(error) = self.ask(packet).await {
                let is_undone = place + 1 < packets.len();
                return Err(self.give_up(error, is_undone).await);
            }
        }
        Ok(())
    }

    /// Releases the lock.
    pub(super) async fn back(&mut self) -> Result<(), Failure> {
        self.ask(&format!("ROLLBACK;{AT_EASE}")).await?;
        Ok(())
    }

    /// Releases the lock, which must not be held until the next write. If the connection is broken
    /// that fails, and whoever uses it next finds out before anything is written.
    async fn give_up(&mut self, error: sqlx::Error, is_undone: bool) -> Failure {
        let _ = self.back().await;
        let is_undone = is_undone || is_of_a_replica(&error);
        match kind(&error) {
            Kind::Broken if is_undone => Failure::Undone(error.into()),
            _ => error.into(),
        }
    }
}
