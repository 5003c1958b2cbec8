//! The store in PostgreSQL.

mod builder;
mod migrate;
mod op;
mod reading;
mod statements;
mod store;
mod wake;
mod writer;

pub use self::{builder::PostgresStoreBuilder, store::PostgresStore};

#[cfg(test)]
mod tests {
    use tower_revoke_core::Store;

    use super::*;

    fn is_send<T: Send>(_: &T) {}

    /// Compiled, not run: nobody is there to answer.
    #[expect(dead_code, reason = "that it compiles is the test")]
    async fn all_can_be_spawned(builder: PostgresStoreBuilder, store: PostgresStore) {
        is_send(&builder.migrate());
        is_send(&builder.connect());
        is_send(&store.changes(None));
        is_send(&store.purge(tower_revoke_core::UnixTime::EPOCH));
    }
}
