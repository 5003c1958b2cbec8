//! Checks, at the opening of a store, that the server is fit for it.

use sqlx::{Executor, PgConnection, Row};
use tower_revoke_core::UnixTime;

use super::{
    error::of_opening,
    migrate::{hex, quoted},
};
use crate::{
    columns::Columns,
    error::SqlStoreError,
    probe::{Contender, Contest, check_isolation, random},
    unfit::UnfitServer,
    value::secs,
};

impl Contender for PgConnection {
    async fn run(&mut self, statements: &str) -> Result<Option<i64>, SqlStoreError> {
        let rows = self.fetch_all(sqlx::raw_sql(statements)).await;
        let rows = rows.map_err(of_opening)?;
        let number = rows.last().map(|row| row.number(0)).transpose();
        number.map_err(|_| SqlStoreError::Probe)
    }
}

/// Returns the only value of the only row of a statement. Prepares nothing, since a pooler may give
/// the next statement to another session.
async fn text(link: &mut PgConnection, statement: &str) -> Result<String, SqlStoreError> {
    let row = link.fetch_one(sqlx::raw_sql(statement)).await;
    let text = row.and_then(|row| row.try_get::<Option<String>, _>(0));
    Ok(text.map_err(of_opening)?.unwrap_or_default())
}

/// Rejects a server by what it says of itself: a kind that is not fit, a standby, and an encoding
/// that can't store every text.
pub(super) async fn server(
    link: &mut PgConnection,
    allowed: &[UnfitServer],
) -> Result<(), SqlStoreError> {
    let version = text(link, "SELECT version()").await?;
    UnfitServer::check(UnfitServer::named(&version), allowed)?;
    if text(link, "SELECT pg_is_in_recovery()::text").await? != "false" {
        return Err(SqlStoreError::ReadOnly);
    }
    let encoding = text(link, "SHOW server_encoding").await?;
    match encoding.as_str() {
        "UTF8" => Ok(()),
        _ => Err(SqlStoreError::Encoding(encoding)),
    }
}

/// Rejects sessions that two connections share, or that lose their settings.
pub(super) async fn sessions(
    first: &mut PgConnection,
    second: &mut PgConnection,
    allowed: &[UnfitServer],
) -> Result<(), SqlStoreError> {
    const ASK: &str = "SELECT current_setting('tower_revoke.session', true)";
    const PID: &str = "SELECT pg_backend_pid()::text";
    let set = format!("SET tower_revoke.session = '{}'", hex(&random()?));
    first.run(&set).await?;
    let (session, pid) = (text(first, ASK).await?, text(first, PID).await?);
    let is_shared = text(second, PID).await? == pid || text(second, ASK).await? == session;
    let is_lost = text(first, PID).await? != pid || text(first, ASK).await? != session;
    let found = (is_shared || is_lost).then_some(UnfitServer::TransactionPooler);
    UnfitServer::check(found, allowed)?;
    first.run("RESET tower_revoke.session").await?;
    let found = text(first, "SHOW transaction_isolation").await?;
    check_isolation(found, "read committed")
}

/// Lets two connections contend for one use. They lock as writers do, by an advisory lock, but one
/// of their own.
pub(super) async fn one_winner(
    first: &mut PgConnection,
    second: &mut PgConnection,
    schema: &str,
    until: UnixTime,
) -> Result<(), SqlStoreError> {
    let token = random()?;
    let [a, b, c, d, ..] = token;
    let contest = Contest {
        uses: format!("{}.uses", quoted(schema)),
        token: format!("'\\x{}'", hex(&token)),
        until: secs(until),
        lock: format!(
            "SELECT pg_advisory_xact_lock(1953656437, {})",
            i32::from_be_bytes([a, b, c, d])
        ),
    };
    contest.hold(first, second).await
}

/// Returns whether the connection is encrypted.
pub(super) async fn is_encrypted(link: &mut PgConnection) -> Result<bool, SqlStoreError> {
    let ssl = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    Ok(text(link, ssl).await? == "true")
}

pub(super) async fn warn_if_it_may_lose(link: &mut PgConnection) -> Result<(), SqlStoreError> {
    for name in ["fsync", "full_page_writes"] {
        if text(link, &format!("SHOW {name}")).await? == "off" {
            tracing::warn!(
                target: "tower_revoke::store_sql",
                "PostgreSQL runs with {name} = off: a crash of its machine may lose revocations \
                 and uses that were acknowledged, and the whole database"
            );
        }
    }
    Ok(())
}
