//! The classification of PostgreSQL's errors by their SQLSTATE.

use sqlx::error::DatabaseError;

use crate::error::{Kind, SqlStoreError};

pub(super) fn kind(error: &sqlx::Error) -> Kind {
    Kind::of(error, of_answer)
}

const READ_ONLY: &str = "25006";

/// Returns whether the server refused to write because it is a standby.
pub(super) fn is_of_a_standby(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(|error| error.code().as_deref() == Some(READ_ONLY))
}

fn of_answer(error: &(dyn DatabaseError + 'static)) -> Kind {
    match error.code().as_deref() {
        // admin_shutdown, crash_shutdown, cannot_connect_now, idle_session_timeout,
        // idle_in_transaction_session_timeout.
        Some("57P01" | "57P02" | "57P03" | "57P05" | "25P03") => Kind::Broken,
        // read_only_sql_transaction: the server is a standby, as a demoted primary is. A new
        // connection may reach the new primary.
        Some(READ_ONLY) => Kind::Broken,
        Some("40001" | "40P01") => Kind::Again,
        Some("57014") => Kind::TimedOut,
        Some("53100") => Kind::Full,
        _ => Kind::Other,
    }
}

/// Returns the error of opening a store.
pub(super) fn of_opening(error: sqlx::Error) -> SqlStoreError {
    let code = match &error {
        sqlx::Error::Database(error) => error.code().map(|code| code.into_owned()),
        _ => None,
    };
    match code.as_deref() {
        Some("28000" | "28P01" | "3D000" | "42501") => SqlStoreError::Login(Box::new(error)),
        Some("57P03") | None => SqlStoreError::Unreachable(Box::new(error)),
        _ => SqlStoreError::Rejected(Box::new(error)),
    }
}
