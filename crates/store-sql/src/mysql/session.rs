//! Connections, and the settings of theirs that the store relies on.

use std::time::Duration;

use sqlx::{
    Connection, Executor, MySqlConnection, Row,
    mysql::{MySqlConnectOptions, MySqlRow},
};

use super::error::{is_read_only, said};
use crate::error::{Failure, Kind};

/// Said before the lock is taken. A node that stops in the middle of a transaction has it taken away
/// after a second, and others have their turn.
pub(super) const IN_A_HURRY: &str = "SET SESSION wait_timeout=1";

/// Said after the commit.
pub(super) const AT_EASE: &str = "SET SESSION wait_timeout=DEFAULT";

/// Whatever the server's defaults are.
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

/// How long a packet the server takes; a little is left for what is around it.
pub(super) async fn packet(connection: &mut MySqlConnection) -> Result<usize, sqlx::Error> {
    let row = sqlx::raw_sql("SELECT @@max_allowed_packet");
    let row = connection.fetch_one(row).await?;
    let bytes: u64 = row.try_get_unchecked(0)?;
    Ok(usize::try_from(bytes)
        .unwrap_or(usize::MAX)
        .saturating_sub(64))
}

impl Link {
    pub(super) async fn open(
        options: &MySqlConnectOptions,
        settings: &str,
    ) -> Result<Self, sqlx::Error> {
        let mut connection = MySqlConnection::connect_with(options).await?;
        connection.execute(settings).await?;
        let packet = packet(&mut connection).await?;
        Ok(Self { connection, packet })
    }

    pub(super) async fn close(self) {
        // The server would find out by itself.
        let _ = self.connection.close().await;
    }

    /// Takes the lock, and reads: all rows of all statements. Nothing is written yet, so that nothing
    /// is in doubt when this fails.
    pub(super) async fn begin(&mut self, packets: &[String]) -> Result<Vec<MySqlRow>, Failure> {
        let mut rows = Vec::new();
        for packet in packets {
            match self.connection.fetch_all(sqlx::raw_sql(packet)).await {
                Ok(more) => rows.extend(more),
                Err(error) => return Err(self.gives_up(error, true).await),
            }
        }
        Ok(rows)
    }

    /// Writes, up to the commit in the last packet.
    pub(super) async fn end(&mut self, packets: &[String]) -> Result<(), Failure> {
        for (place, packet) in packets.iter().enumerate() {
            if let Err(error) = self.connection.execute(sqlx::raw_sql(packet)).await {
                let is_undone = place + 1 < packets.len();
                return Err(self.gives_up(error, is_undone).await);
            }
        }
        Ok(())
    }

    /// Releases the lock.
    pub(super) async fn back(&mut self) -> Result<(), Failure> {
        let back = format!("ROLLBACK;{AT_EASE}");
        self.connection.execute(sqlx::raw_sql(&back)).await?;
        Ok(())
    }

    /// The lock must not be kept until somebody writes again. If the connection is broken that fails,
    /// and whoever uses it next finds out before anything is written.
    async fn gives_up(&mut self, error: sqlx::Error, is_undone: bool) -> Failure {
        let _ = self.back().await;
        let is_undone = is_undone || said(&error).is_some_and(is_read_only);
        match Kind::of(&error) {
            Kind::Broken if is_undone => Failure::Undone(error.into()),
            _ => error.into(),
        }
    }
}
