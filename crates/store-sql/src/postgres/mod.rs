//! The store in PostgreSQL. From the lowest module up: error, statements, migrate, database, wake,
//! reading, writing, store, builder; each imports only from those before it.

mod builder;
mod check;
mod database;
mod error;
mod migrate;
mod reading;
mod statements;
mod store;
mod wake;
mod writing;

pub use self::{builder::PostgresStoreBuilder, store::PostgresStore};
