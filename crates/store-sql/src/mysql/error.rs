//! What the numbers of errors mean, of MariaDB's and of MySQL's.

use sqlx::mysql::MySqlDatabaseError;

use crate::{SqlStoreError, error::Kind};

/// What can be done about it.
pub(crate) fn kind(said: &MySqlDatabaseError) -> Kind {
    match said.number() {
        // A deadlock; a lock was not had in time; a row was changed since the snapshot.
        1213 | 1205 | 1020 => Kind::Again,
        // It shuts down; the connection or the statement was ended by somebody, or since it was idle;
        // the network failed; a node of a cluster has left it.
        1053 | 1317 | 1927 | 3169 | 4031 | 1158..=1161 | 1047 | 1184 => Kind::Broken,
        1969 | 3024 => Kind::TimedOut,
        // The table, the disk.
        1114 | 1021 => Kind::Full,
        _ if is_read_only(said) => Kind::Broken,
        _ => Kind::Other,
    }
}

/// Whether it has become a replica: whoever is written to is elsewhere by now. Nothing was done.
pub(super) fn is_read_only(said: &MySqlDatabaseError) -> bool {
    matches!(said.number(), 1290 | 1836)
}

pub(super) fn said(error: &sqlx::Error) -> Option<&MySqlDatabaseError> {
    match error {
        sqlx::Error::Database(said) => said.try_downcast_ref(),
        _ => None,
    }
}

/// Whether there is no such table.
pub(super) fn is_no_table(error: &sqlx::Error) -> bool {
    said(error).is_some_and(|said| said.number() == 1146)
}

/// Sorts an error of the driver's.
pub(super) fn of_opening(error: sqlx::Error) -> SqlStoreError {
    match said(&error).map(MySqlDatabaseError::number) {
        // The password, the plugin that checks it, the host; the database; a privilege.
        Some(1045 | 1251 | 1698 | 1130 | 1044 | 1049 | 1142 | 1143 | 1227 | 1370) => {
            SqlStoreError::Login(Box::new(error))
        }
        // No room for one more connection; too many failed; it shuts down.
        Some(1040 | 1053 | 1129 | 1203) | None => SqlStoreError::Unreachable(Box::new(error)),
        Some(_) => SqlStoreError::Rejected(Box::new(error)),
    }
}
