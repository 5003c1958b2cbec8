//! An issuer, a list over a store that can be told to fail, and the stack around a service.

use tower::Layer;
use tower_revoke::{JwtVerifier, MemoryStore, RequireBearer, RequireBearerLayer, RevocationList};
use tower_revoke_testing::{ScriptedStore, StoreScript, TestAlgorithm, TestIssuer};

/// All that a protected service stands on.
#[derive(Debug)]
pub struct World {
    /// Signs the tokens.
    pub issuer: TestIssuer,
    /// What the layers ask.
    pub list: RevocationList,
    /// Steers the store behind the list.
    pub store: StoreScript,
    /// Checks the tokens.
    pub tokens: JwtVerifier,
}

impl World {
    /// An issuer with an ES256 key, and an empty list.
    pub fn new() -> Self {
        let (store, script) = ScriptedStore::over(MemoryStore::new());
        Self::over(RevocationList::new(store), script)
    }

    /// An issuer with an ES256 key, and a list over the store of this script.
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

    /// A token that is good for an hour.
    pub fn token(&self) -> String {
        self.issuer.token().audience("api").sign()
    }

    /// The bearer check around `layer` around `service`.
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
