//! What the codes of PostgreSQL's errors mean.

use sqlx::error::DatabaseError;

use crate::error::{Kind, SqlStoreError};

pub(super) fn kind(error: &sqlx::Error) -> Kind {
    Kind::of(error, of_answer)
}

fn of_answer(error: &(dyn DatabaseError + 'static)) -> Kind {
    match error.code().as_deref() {
        // Ended by an administrator, by the crash of another session; or the server is starting up.
        Some("57P01" | "57P02" | "57P03" | "57P05") => Kind::Broken,
        // The server has become a standby: the primary is another one by now.
        Some("25006") => Kind::Broken,
        Some("40001" | "40P01") => Kind::Again,
        Some("57014") => Kind::TimedOut,
        Some("53100") => Kind::Full,
        _ => Kind::Other,
    }
}

/// Why the store could not be opened.
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
