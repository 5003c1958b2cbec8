//! Keycloak with two realms that differ in the signature algorithm, and an admin client to rotate
//! keys.

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use http::{Method, StatusCode, header::AUTHORIZATION};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use super::{
    ClientId, Issuer, Reply,
    client::{Body, send},
    installed,
};
use crate::process::Process;

const VERSION: &str = include_str!("../../servers/keycloak/VERSION");
const REALM: &str = include_str!("../../servers/keycloak/realm.json");

/// Starting takes 10 to 20 s; 120 s were seen on a machine that was busy building.
const STARTS_WITHIN: Duration = Duration::from_secs(240);

/// The user name of its administrator, and also the password.
const ADMIN: &str = "admin";

/// A single thread and little compilation start fastest.
const FAST_START: &[&str] = &["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];

/// As in Keycloak's own `kc.sh`, which doesn't exec the JVM but waits for it, so that the server
/// would outlive its handle.
const JVM: &[&str] = &[
    "-Xmx512m",
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

/// Port 0 picks a free one. Any other cache than the local one would listen on every address.
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

/// A running Keycloak, stopped on drop.
#[derive(Debug)]
pub struct Keycloak {
    /// The realm whose tokens are signed with RS256.
    pub rs256: Issuer,
    /// The realm whose tokens are signed with ES256.
    pub es256: Issuer,
    /// A client for the audience `api` that authenticates by assertions. Its name is its id.
    pub signer: TestIssuer,
    url: String,
    _process: Process,
}

impl Keycloak {
    /// A client for the audience `api`, with the scope `OTT` if requested. Its secret must be
    /// form-urlencoded (RFC 6749 §2.3.1). It may ask for tokens of [`ANN`](Self::ANN).
    pub const SHOP: ClientId = ClientId {
        id: "shop",
        secret: "shop's secret: 100 % & more",
    };
    /// Like [`SHOP`](Self::SHOP), but its tokens have the type `at+jwt`.
    pub const TYPED_SHOP: ClientId = ClientId {
        id: "typed-shop",
        secret: "typed-shop's secret",
    };
    /// A client for the audience `payments`.
    pub const TILL: ClientId = ClientId {
        id: "till",
        secret: "till's secret",
    };
    /// The resource server, which may introspect tokens for its audience.
    pub const API: ClientId = ClientId {
        id: "api",
        secret: "api's secret",
    };

    /// The parameters for an access and a refresh token of a user.
    pub const ANN: &'static [(&'static str, &'static str)] = &[
        ("grant_type", "password"),
        ("username", "ann"),
        ("password", "ann's password"),
    ];

    /// Starts it on a free port, with its data in memory.
    pub async fn start() -> Self {
        Self::start_with(FAST_START).await
    }

    /// Starts it as one that runs for long: the JVM compiles what is called often.
    pub async fn start_to_last() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(options: &[&str]) -> Self {
        let home = installed(&format!("keycloak-{}", VERSION.trim()));
        let data = TempDir::new().expect("a temp dir");
        let signer = TestIssuer::with("signer", TestAlgorithm::ES256);
        lay_out(&home, data.path(), &signer);
        let folder = data.path().to_owned();
        let mut process = Process::start("Keycloak", "java", data, |command| {
            let property = |name: &str, path: &Path| format!("-D{name}={}", path.display());
            command
                .args(JVM)
                .args(options)
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
        // It listens only once everything else is done, including the import of the realms.
        let url = process
            .says("where it listens", STARTS_WITHIN, |line| {
                let (_, rest) = line.split_once("Listening on: ")?;
                Some(rest.trim_end().trim_end_matches('.').to_owned())
            })
            .await;
        Self {
            rs256: Issuer::discover(&format!("{url}/realms/rs256")).await,
            es256: Issuer::discover(&format!("{url}/realms/es256")).await,
            signer,
            url,
            _process: process,
        }
    }

    /// Adds a new RSA key to the realm `rs256`, which signs from now on. The old one stays
    /// published.
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

    /// Disables the first RSA key of the realm `rs256`: it no longer signs, and leaves the key set.
    pub async fn disable_first_key(&self) {
        let reply = self.admin(Method::GET, "?name=first%20RS256", None).await;
        let mut key = reply.json[0].clone();
        let id = key["id"].as_str().expect("a key of this name").to_owned();
        key["config"]["enabled"] = json!(["false"]);
        key["config"]["active"] = json!(["false"]);
        let reply = self.admin(Method::PUT, &format!("/{id}"), Some(&key)).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
    }

    /// Calls the admin API for the components of the realm `rs256`.
    async fn admin(&self, method: Method, rest: &str, body: Option<&Value>) -> Reply {
        let url = format!("{}/realms/master/protocol/openid-connect/token", self.url);
        let login = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", ADMIN),
            ("password", ADMIN),
        ];
        // The token lives for a minute, so each call fetches one.
        let login = send(Method::POST, &url, &[], Body::Form(&login)).await;
        let token = login.json["access_token"].as_str().expect("a token");
        let url = format!("{}/admin/realms/rs256/components{rest}", self.url);
        let body = body.map_or(Body::None, Body::Json);
        let bearer = [(AUTHORIZATION, format!("Bearer {token}"))];
        send(method, &url, &bearer, body).await
    }
}

/// Creates a home folder for the server that links to the installed programs and has its own data.
fn lay_out(installed: &Path, home: &Path, signer: &TestIssuer) {
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
        let clients = realm["clients"].as_array_mut().expect("clients");
        clients.push(json!({
            "clientId": signer.issuer(),
            "clientAuthenticatorType": "client-jwt",
            "attributes": { "use.jwks.string": "true", "jwks.string": signer.jwks().to_string() },
            "serviceAccountsEnabled": true,
            "standardFlowEnabled": false,
            "defaultClientScopes": ["basic", "for-api"],
        }));
        let file = import.join(format!("{name}-realm.json"));
        fs::write(file, realm.to_string()).expect("a file in the temp dir");
    }
}
