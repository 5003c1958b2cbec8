//! Real authorization servers, store servers, and clients of OAuth and gRPC, started from what
//! `tests/servers/install` has installed. Nothing is downloaded here.

mod cassandra;
mod client;
mod keycloak;
mod mariadb;
mod oidc_provider;
mod pgbouncer;
mod postgres;
mod prometheus;
mod redis;
mod rewriter;
mod script;
mod server_process;
mod store_server;

use std::{net::TcpListener, path::PathBuf, process::Command};

pub use self::{
    cassandra::{Cassandra, SharedCassandra},
    client::{ClientId, Issuer, Reply},
    keycloak::Keycloak,
    mariadb::{MariaDb, SharedMariaDb},
    oidc_provider::OidcProvider,
    pgbouncer::PgBouncer,
    postgres::{Postgres, SharedPostgres},
    prometheus::Prometheus,
    redis::{Redis, RedisCluster, SharedRedis, WatchedRedis, replicas_catch_up, wait_until},
    rewriter::Rewriter,
    script::{authlib, axe_core, grpc_js, grpcio, mcp_sdk_js, mcp_sdk_python, openid_client},
    store_server::{StoreServer, is_outage},
};

/// Returns the folder of an installed server: in `TOWER_REVOKE_SERVERS`, or in the user's cache
/// folder, which all checkouts share.
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

/// Servers that refuse to run as root get another user then.
fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

fn ran(name: &str, command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{name} does not run: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket").port()
}
