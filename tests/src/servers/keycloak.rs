//! Keycloak: two realms that differ in the algorithm of their tokens, and the keys of both in
//! the hands of an administrator.

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    ClientId, Issuer, Reply,
    client::{Body, send},
    installed,
};
use crate::process::Process;

const VERSION: &str = include_str!("../../servers/keycloak/VERSION");
const REALM: &str = include_str!("../../servers/keycloak/realm.json");

/// It takes 10 to 20 s; on a machine that is busy building it was seen to take 120.
const STARTS_WITHIN: Duration = Duration::from_secs(240);

/// Its administrator, and the password too.
const ADMIN: &str = "admin";

/// As in Keycloak's own `kc.sh`, which does not hand over to the JVM but waits for it: the server
/// would outlive its handle. One thread that compiles little starts soonest.
const JVM: &[&str] = &[
    "-Xmx512m",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Duser.language=en",
    "-Dfile.encoding=UTF-8",
    "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
    "-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
    "-Dpicocli.disable.closures=true",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.security=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
];

/// Port 0 is a free one. With another cache than the local one it would listen on every address.
const OPTIONS: &[&str] = &[
    "start",
    "--optimized",
    "--import-realm",
    "--cache=local",
    "--http-enabled=true",
    "--http-host=127.0.0.1",
    "--http-port=0",
    "--hostname-strict=false",
];

/// A running Keycloak; it ends when dropped.
#[derive(Debug)]
pub struct Keycloak {
    /// The realm whose tokens are signed with RS256.
    pub rs256: Issuer,
    /// The realm whose tokens are signed with ES256.
    pub es256: Issuer,
    url: String,
    _process: Process,
}

impl Keycloak {
    /// A client whose tokens are for `api`, with the scope `OTT` if it asks for it. The secret is
    /// one that must be form-urlencoded (RFC 6749 §2.3.1).
    pub const SHOP: ClientId = ClientId {
        id: "shop",
        secret: "shop's secret: 100 % & more",
    };
    /// As [`SHOP`](Self::SHOP), but the tokens say that they are access tokens: `at+jwt`.
    pub const TYPED_SHOP: ClientId = ClientId {
        id: "typed-shop",
        secret: "typed-shop's secret",
    };
    /// A client whose tokens are for `payments`.
    pub const TILL: ClientId = ClientId {
        id: "till",
        secret: "till's secret",
    };
    /// The resource server, which may introspect the tokens that are for it.
    pub const API: ClientId = ClientId {
        id: "api",
        secret: "api's secret",
    };

    /// Starts it on a free port, with its data in memory.
    pub async fn start() -> Self {
        let home = installed(&format!("keycloak-{}", VERSION.trim()));
        let data = TempDir::new().expect("a temp dir");
        lay_out(&home, data.path());
        let folder = data.path().to_owned();
        let mut process = Process::start("Keycloak", "java", data, |command| {
            let property = |name: &str, path: &Path| format!("-D{name}={}", path.display());
            command
                .args(JVM)
                .arg(property("kc.home.dir", &folder))
                .arg(property("jboss.server.config.dir", &folder.join("conf")))
                .arg(property("java.io.tmpdir", &folder))
                .arg("-cp")
                .arg(folder.join("lib/quarkus-run.jar"))
                .arg("io.quarkus.bootstrap.runner.QuarkusEntryPoint")
                .args(OPTIONS)
                .env("KC_BOOTSTRAP_ADMIN_USERNAME", ADMIN)
                .env("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMIN);
        });
        // It listens when all else is done, the import of the realms too.
        let url = process
            .says("where it listens", STARTS_WITHIN, |line| {
                let (_, rest) = line.split_once("Listening on: ")?;
                Some(rest.trim_end().trim_end_matches('.').to_owned())
            })
            .await;
        Self {
            rs256: Issuer::discover(&format!("{url}/realms/rs256")).await,
            es256: Issuer::discover(&format!("{url}/realms/es256")).await,
            url,
            _process: process,
        }
    }

    /// Gives the realm `rs256` a new RSA key, with which it signs from now on. The old one stays.
    pub async fn rotate(&self) {
        let key = json!({
            "name": "second RS256",
            "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "config": { "priority": ["200"], "algorithm": ["RS256"], "keySize": ["2048"] },
        });
        let reply = self.admin(Method::POST, "", Some(&key)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    }

    /// Takes the first RSA key of the realm `rs256` out of use: it signs nothing, and is gone from
    /// the key set.
    pub async fn disable_first_key(&self) {
        let reply = self.admin(Method::GET, "?name=first%20RS256", None).await;
        let mut key = reply.json[0].clone();
        let id = key["id"].as_str().expect("a key of this name").to_owned();
        key["config"]["enabled"] = json!(["false"]);
        key["config"]["active"] = json!(["false"]);
        let reply = self.admin(Method::PUT, &format!("/{id}"), Some(&key)).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
    }

    /// Asks the admin API for something about the components of the realm `rs256`.
    async fn admin(&self, method: Method, rest: &str, body: Option<&Value>) -> Reply {
        let url = format!("{}/realms/master/protocol/openid-connect/token", self.url);
        let login = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", ADMIN),
            ("password", ADMIN),
        ];
        // The token lives for a minute: one a call.
        let login = send(Method::POST, &url, None, Body::Form(&login)).await;
        let token = login.json["access_token"].as_str().expect("a token");
        let url = format!("{}/admin/realms/rs256/components{rest}", self.url);
        let body = body.map_or(Body::None, Body::Json);
        send(method, &url, Some(format!("Bearer {token}")), body).await
    }
}

/// A home for the server that shares the programs and keeps what is written to itself.
fn lay_out(installed: &Path, home: &Path) {
    for shared in ["conf", "lib", "providers", "themes"] {
        symlink(installed.join(shared), home.join(shared)).expect("a link in the temp dir");
    }
    let import = home.join("data/import");
    fs::create_dir_all(&import).expect("a folder in the temp dir");
    for algorithm in ["RS256", "ES256"] {
        let name = algorithm.to_lowercase();
        let mut realm: Value = serde_json::from_str(REALM).expect("the realm is JSON");
        realm["realm"] = json!(name);
        realm["defaultSignatureAlgorithm"] = json!(algorithm);
        let file = import.join(format!("{name}-realm.json"));
        fs::write(file, realm.to_string()).expect("a file in the temp dir");
    }
}
