//! The classification of the errors of MariaDB and MySQL by their numbers.

use sqlx::{error::DatabaseError, mysql::MySqlDatabaseError};

use crate::error::{Kind, SqlStoreError};

pub(super) fn kind(error: &sqlx::Error) -> Kind {
    Kind::of(error, of_answer)
}

fn of_answer(error: &(dyn DatabaseError + 'static)) -> Kind {
    let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() else {
        return Kind::Other;
    };
    match error.number() {
        // A deadlock; a lock wait that timed out; a row that has changed since the snapshot.
        1213 | 1205 | 1020 => Kind::Again,
        // The server shuts down; the statement or the connection was killed, or the connection was
        // idle for too long; the network failed; a node has left its Galera cluster.
        1053 | 1317 | 1927 | 3169 | 4031 | 1158..=1161 | 1047 | 1184 => Kind::Broken,
        1969 | 3024 => Kind::TimedOut,
        // The table is full; the disk is full.
        1114 | 1021 => Kind::Full,
        number if is_read_only(number) => Kind::Broken,
        _ => Kind::Other,
    }
}

/// A condition that holds on a server that is read-only: a replica, a demoted primary, or a reader
/// of a cluster that shares its storage. Some logins could write there all the same. `read_only` is
/// a number or, in newer releases of MariaDB, a word.
pub(super) const IS_READ_ONLY: &str = "CONCAT(@@GLOBAL.read_only,'/',@@GLOBAL.innodb_read_only) \
                                       NOT IN ('0/0','OFF/0','OFF/OFF')";

/// Returns whether the server is read-only, as a demoted primary is. The statement had no effect,
/// and a new connection may reach the new primary.
fn is_read_only(number: u16) -> bool {
    matches!(number, 1290 | 1836 | 1874)
}

fn number(error: &sqlx::Error) -> Option<u16> {
    match error {
        sqlx::Error::Database(error) => {
            let error = error.try_downcast_ref::<MySqlDatabaseError>();
            error.map(MySqlDatabaseError::number)
        }
        _ => None,
    }
}

pub(super) fn is_of_a_replica(error: &sqlx::Error) -> bool {
    number(error).is_some_and(is_read_only)
}

/// Returns whether a value was NULL where it must not be, or there already where it must be unique.
pub(super) fn is_invalid_value(error: &sqlx::Error) -> bool {
    matches!(number(error), Some(1048 | 1062))
}

pub(super) fn is_no_table(error: &sqlx::Error) -> bool {
    number(error) == Some(1146)
}

/// Returns the error of opening a store.
pub(super) fn of_opening(error: sqlx::Error) -> SqlStoreError {
    match number(&error) {
        // The password, its plugin or the host is wrong; the database is unknown; a privilege is
        // missing.
        Some(1045 | 1251 | 1698 | 1130 | 1044 | 1049 | 1142 | 1143 | 1227 | 1370) => {
            SqlStoreError::Login(Box::new(error))
        }
        // Too many connections; too many failed ones from this host; the server shuts down.
        Some(1040 | 1053 | 1129 | 1203) | None => SqlStoreError::Unreachable(Box::new(error)),
        Some(_) => SqlStoreError::Rejected(Box::new(error)),
    }
}
