//! The classification of PostgreSQL's errors by their SQLSTATE.

use sqlx::error::DatabaseError;

use crate::error::{Kind, SqlStoreError};

pub(super) fn kind(error: &sqlx::Error) -> Kind {
    Kind::of(error, of_answer)
}

fn of_answer(error: &(dyn DatabaseError + 'static)) -> Kind {
    match error.code().as_deref() {
        // admin_shutdown, crash_shutdown, cannot_connect_now, idle_session_timeout.
        Some("57P01" | "57P02" | "57P03" | "57P05") => Kind::Broken,
        // read_only_sql_transaction: the server is a standby, as a demoted primary is. A new
        // connection may reach the new primary.
        Some("25006") => Kind::Broken,
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
