//! Real authorization servers, and a gRPC client, for the tests, started from what
//! `tests/servers/install` has put ready. Nothing is fetched here.

mod client;
mod grpcio;
mod keycloak;
mod oidc_provider;
mod postgres;
mod redis;
mod store_server;

use std::path::PathBuf;

pub use self::{
    client::{ClientId, Issuer, Reply},
    grpcio::grpcio,
    keycloak::Keycloak,
    oidc_provider::OidcProvider,
    postgres::{Postgres, SharedPostgres},
    redis::{Redis, RedisCluster, SharedRedis, WatchedRedis, wait_until},
    store_server::{StoreServer, is_outage},
};

/// Where the servers are: `TOWER_REVOKE_SERVERS`, else the user's cache folder, so that all
/// checkouts share them.
fn installed(server: &str) -> PathBuf {
    let root = std::env::var_os("TOWER_REVOKE_SERVERS").map_or_else(cache, PathBuf::from);
    let folder = root.join(server);
    assert!(
        folder.is_dir(),
        "{server} is not in {}: run tests/servers/install",
        root.display()
    );
    folder
}

fn cache() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache")))
        .expect("HOME, XDG_CACHE_HOME or TOWER_REVOKE_SERVERS is set");
    cache.join("tower-revoke/servers")
}
