//! The public type of the store.

use super::database::Postgres;
use crate::{public::is_a_store, store::SqlStore};

/// A [`Store`](tower_revoke_core::Store) in PostgreSQL. Cheap to clone; clones are handles of the
/// same store.
///
/// See the [docs of the crate](crate) for its guarantees and an example.
#[derive(Clone, Debug)]
pub struct PostgresStore(pub(super) SqlStore<Postgres>);

is_a_store!(PostgresStore);

#[cfg(test)]
mod tests {
    use tower_revoke_core::{ChangeFeed, Store, UnixTime};

    use super::super::PostgresStoreBuilder;
    use super::*;

    fn is_send<T: Send>(_: &T) {}

    /// Compiled but never run, because there is no server.
    #[expect(dead_code, reason = "that it compiles is the test")]
    async fn all_can_be_spawned(builder: PostgresStoreBuilder, store: PostgresStore) {
        is_send(&builder.migrate());
        is_send(&builder.connect());
        is_send(&store.changes(None));
        is_send(&store.purge(UnixTime::EPOCH));
    }
}
