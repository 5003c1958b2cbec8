//! The store in a SQLite file. From the lowest module up: error, rows, writing, file, database,
//! reading, backend, store, builder; each imports only from those before it.

mod backend;
mod builder;
mod database;
mod error;
mod file;
mod reading;
mod sql;
mod store;
#[cfg(test)]
mod tests;
mod writing;

pub use self::{builder::SqliteStoreBuilder, error::SqliteStoreError, store::SqliteStore};
