//! oidc-provider, with JWT access tokens that it never revokes, and opaque ones that it does.

use std::{fs, os::unix::fs::symlink, time::Duration};

use tempfile::TempDir;
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use super::{ClientId, Issuer, installed};
use crate::process::Process;

const PROGRAM: &str = include_str!("../../servers/oidc-provider/index.js");
const PACKAGE: &str = include_str!("../../servers/oidc-provider/package.json");
const LOCK: &str = include_str!("../../servers/oidc-provider/package-lock.json");

/// Starting takes about 2 s, or longer on a machine that is busy building.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A running oidc-provider, stopped on drop.
#[derive(Debug)]
pub struct OidcProvider {
    /// Its only issuer.
    pub issuer: Issuer,
    /// A client that authenticates by assertions. Its name is its id.
    pub signer: TestIssuer,
    _process: Process,
}

impl OidcProvider {
    /// A client. The secret must be form-urlencoded (RFC 6749 §2.3.1). It may ask for tokens of
    /// [`ANN`](Self::ANN).
    pub const SHOP: ClientId = ClientId {
        id: "shop",
        secret: "shop's secret: 100 % & more",
    };
    /// A client that gets tokens for any `http://127.0.0.1:PORT/mcp`. `other-agent` is another one.
    pub const AGENT: ClientId = ClientId {
        id: "agent",
        secret: "agent",
    };
    /// A client that sends its secret in the form.
    pub const POSTER: ClientId = ClientId {
        id: "poster",
        secret: "poster",
    };
    /// The `resource` to request a JWT signed with RS256.
    pub const RS256: &'static str = "https://api.example.com/rs256";
    /// The `resource` to request a JWT signed with ES256.
    pub const ES256: &'static str = "https://api.example.com/es256";
    /// The `resource` to request an opaque token.
    pub const OPAQUE: &'static str = "https://api.example.com/opaque";

    /// The parameters for an opaque access token of a user, and a refresh token.
    pub const ANN: &'static [(&'static str, &'static str)] =
        &[("grant_type", "user"), ("username", "ann")];

    /// Starts it on a free port.
    pub async fn start() -> Self {
        let installed = installed("oidc-provider");
        let lock = fs::read_to_string(installed.join("package-lock.json")).unwrap_or_default();
        assert_eq!(lock, LOCK, "another version: run tests/servers/install");

        let data = TempDir::new().expect("a temp dir");
        for (file, text) in [("index.js", PROGRAM), ("package.json", PACKAGE)] {
            fs::write(data.path().join(file), text).expect("a file in the temp dir");
        }
        let modules = data.path().join("node_modules");
        symlink(installed.join("node_modules"), modules).expect("a link in the temp dir");

        let signer = TestIssuer::with("signer", TestAlgorithm::ES256);
        let mut process = Process::start("oidc-provider", "node", data, |command| {
            command.arg("index.js").arg(signer.jwks().to_string());
        });
        let name = process
            .says("where it listens", STARTS_WITHIN, |line| {
                line.strip_prefix("listening on ").map(str::to_owned)
            })
            .await;
        Self {
            issuer: Issuer::discover(&name).await,
            signer,
            _process: process,
        }
    }
}
