//! Tests the whole stack in several processes over one shared store, through HTTP clients.

#![expect(clippy::print_stdout, reason = "what was measured is printed")]

mod cascade;
mod failover;
mod issued;
mod kit;
mod load;
mod outage;
mod rejected;
mod winners;

use kit::Told;
use tower_revoke_tests::servers::{Cassandra, MariaDb, Postgres, Redis, StoreServer};

/// The tests that every store must pass: a row for each store, with its name for `store-node` and
/// whether it pushes changes to the nodes.
macro_rules! stores {
    ($($module:ident: $server:ty, $kind:literal, $told:expr;)*) => {$(
        mod $module {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn trap_01_g2_three_processes_have_one_winner_of_ten_thousand() {
                let server = <$server>::fresh().await;
                winners::race_of_three($kind, server.place(), 1).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn trap_01_g2_three_processes_have_a_hundred_winners_of_a_hundred_tokens() {
                let server = <$server>::fresh().await;
                winners::race_of_three($kind, server.place(), 100).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn g4_a_token_revoked_by_one_process_is_rejected_by_the_other() {
                let server = <$server>::fresh().await;
                rejected::elsewhere($kind, server.place(), $told).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn rfc7009_2_1_a_refresh_token_ends_its_access_tokens_on_every_node() {
                let server = <$server>::fresh().await;
                cascade::between_processes($kind, server.place()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn rfc7009_2_1_opaque_tokens_and_tickets_end_on_every_node() {
                let server = <$server>::fresh().await;
                issued::between_processes($kind, server.place()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn trap_06_g5_an_outage_is_a_503_for_every_call() {
                outage::under_load::<$server>($kind, $told).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn trap_07_38_a_node_whose_store_is_down_does_not_start() {
                outage::at_the_start::<$server>($kind).await;
            }
        }
    )*};
}

stores! {
    mariadb: MariaDb, "mariadb", Told::WhenAsked;
    redis: Redis, "redis", Told::AtOnce;
    postgres: Postgres, "postgres", Told::AtOnce;
    cassandra: Cassandra, "cassandra", Told::WhenAsked;
}

/// A file that processes of one machine share.
mod sqlite {
    use tempfile::TempDir;
    use tower_revoke_store_sql::SqliteStore;
    use tower_revoke_tests::sql;

    use super::*;

    fn file() -> (TempDir, String) {
        let folder = TempDir::new().expect("a temp dir");
        let file = folder.path().join("revocations.sqlite");
        let place = file.to_str().expect("a path in UTF-8").to_owned();
        (folder, place)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn trap_01_g2_three_processes_have_one_winner_of_ten_thousand() {
        let (_folder, place) = file();
        winners::race_of_three("sqlite", place, 1).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn trap_01_g2_three_processes_have_a_hundred_winners_of_a_hundred_tokens() {
        let (_folder, place) = file();
        winners::race_of_three("sqlite", place, 100).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn g4_a_token_revoked_by_one_process_is_rejected_by_the_other() {
        let (_folder, place) = file();
        rejected::elsewhere("sqlite", place, Told::WhenAsked).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rfc7009_2_1_a_refresh_token_ends_its_access_tokens_on_every_node() {
        let (_folder, place) = file();
        cascade::between_processes("sqlite", place).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rfc7009_2_1_opaque_tokens_and_tickets_end_on_every_node() {
        let (_folder, place) = file();
        issued::between_processes("sqlite", place).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn trap_55_a_load_ends_while_more_is_written_than_the_feed_keeps() {
        let (_folder, place) = file();
        let store = SqliteStore::builder(place).feed_capacity(1_000);
        let store = store.open().await.expect("a new file");
        sql::a_load_ends_while_more_is_written_than_is_kept(store).await;
    }
}

/// Stores that belong to one process, with two lists over them.
mod own {
    use tempfile::TempDir;
    use tower_revoke::MemoryStore;
    use tower_revoke_store_embedded::EmbeddedStore;

    use super::{cascade, issued};

    #[tokio::test(flavor = "multi_thread")]
    async fn rfc7009_2_1_a_refresh_token_ends_its_access_tokens_in_memory() {
        cascade::between_lists(MemoryStore::new()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rfc7009_2_1_a_refresh_token_ends_its_access_tokens_in_the_embedded_store() {
        let folder = TempDir::new().expect("a temp dir");
        let store = EmbeddedStore::open(folder.path().join("revocations"));
        cascade::between_lists(store.expect("a new folder")).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rfc7009_2_1_opaque_tokens_and_tickets_end_in_memory() {
        issued::between_lists(MemoryStore::new()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rfc7009_2_1_opaque_tokens_and_tickets_end_in_the_embedded_store() {
        let folder = TempDir::new().expect("a temp dir");
        let store = EmbeddedStore::open(folder.path().join("revocations"));
        issued::between_lists(store.expect("a new folder")).await;
    }
}
