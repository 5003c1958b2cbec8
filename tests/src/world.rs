//! An issuer, a list over a scripted store, and the stack around a service.

use tower::Layer;
use tower_revoke::{JwtVerifier, MemoryStore, RequireBearer, RequireBearerLayer, RevocationList};
use tower_revoke_testing::{ScriptedStore, StoreScript, TestAlgorithm, TestIssuer};

/// Everything that a protected service needs.
#[derive(Debug)]
pub struct World {
    /// Signs the tokens.
    pub issuer: TestIssuer,
    /// The revocation list of the layers.
    pub list: RevocationList,
    /// The script of the store behind the list.
    pub store: StoreScript,
    /// Verifies the tokens.
    pub tokens: JwtVerifier,
}

impl World {
    /// Creates an issuer with an ES256 key, and an empty list.
    pub fn new() -> Self {
        let (store, script) = ScriptedStore::over(MemoryStore::new());
        Self::over(RevocationList::new(store), script)
    }

    /// Creates an issuer with an ES256 key, and takes a list over the store of this script.
    pub fn over(list: RevocationList, script: StoreScript) -> Self {
        let issuer = TestIssuer::with("https://id.example.com", TestAlgorithm::ES256);
        let tokens = JwtVerifier::issuer(issuer.issuer())
            .audience("api")
            .jwks(issuer.jwks().to_string())
            .revocations(list.clone())
            .build()
            .expect("a verifier");
        Self {
            issuer,
            list,
            store: script,
            tokens,
        }
    }

    /// Signs a token that is valid for an hour.
    pub fn token(&self) -> String {
        self.issuer.token().audience("api").sign()
    }

    /// Wraps `service` in `layer`, and that in the bearer layer.
    pub fn protect<S, L: Layer<S>>(
        &self,
        layer: &L,
        service: S,
    ) -> RequireBearer<L::Service, JwtVerifier> {
        RequireBearerLayer::new(self.tokens.clone()).layer(layer.layer(service))
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
