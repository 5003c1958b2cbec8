//! The store in MariaDB and MySQL. From the lowest module up: error, sql, session, migrate,
//! database, reading, keeping, writing, store, builder; each imports only from those before it.

mod builder;
mod check;
mod database;
mod error;
mod keeping;
mod migrate;
mod reading;
mod session;
mod sql;
mod store;
mod writing;

pub use self::{builder::MySqlStoreBuilder, store::MySqlStore};
