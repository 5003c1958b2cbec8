//! The public type of the store.

use super::database::MySql;
use crate::{public::is_a_store, store::SqlStore};

/// A [`Store`](tower_revoke_core::Store) in MariaDB or MySQL. Cheap to clone; clones are handles of
/// the same store.
///
/// See the [docs of the crate](crate) for its guarantees.
#[derive(Clone, Debug)]
pub struct MySqlStore(pub(super) SqlStore<MySql>);

is_a_store!(MySqlStore);

#[cfg(test)]
mod tests {
    use tower_revoke_core::{ChangeFeed, Store, UnixTime};

    use super::super::MySqlStoreBuilder;
    use super::*;

    fn is_send<T: Send>(_: &T) {}

    /// Compiled but never run, because there is no server.
    #[expect(dead_code, reason = "that it compiles is the test")]
    async fn all_can_be_spawned(builder: MySqlStoreBuilder, store: MySqlStore) {
        is_send(&builder.migrate());
        is_send(&builder.connect());
        is_send(&store.changes(None));
        is_send(&store.purge(UnixTime::EPOCH));
    }
}
