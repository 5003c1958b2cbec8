//! An issuer over a store that a test can stop, with its list and its clock.

use std::time::Duration;

use tower_revoke_core::{
    Authenticated, BearerToken, Clock, ManualClock, Reason, Rejection, TokenVerifier, UnixTime,
};
use tower_revoke_issued::{
    IssuedTokens, NewToken, OpaqueToken, OpaqueTokenVerifier, OpaqueTokenVerifierBuilder,
};
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_testing::{ScriptedStore, StoreScript};

pub(crate) const ISSUER: &str = "https://id.example.com";
pub(crate) const NOW: u64 = 1_700_000_000;
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) struct World {
    pub(crate) tokens: IssuedTokens,
    pub(crate) list: RevocationList,
    pub(crate) script: StoreScript,
    pub(crate) clock: Clock,
    pub(crate) hand: ManualClock,
    /// The store of issued tokens. That of the list is another one, which never fails.
    pub(crate) memory: MemoryStore,
}

impl World {
    pub(crate) fn new() -> Self {
        let (clock, hand) = Clock::manual(UnixTime::from_secs(NOW));
        let memory = MemoryStore::new();
        let (store, script) = ScriptedStore::over(memory.clone());
        let tokens = IssuedTokens::builder(ISSUER, store).prefix("acme_");
        let list = RevocationList::builder(MemoryStore::new()).clock(clock.clone());
        Self {
            tokens: tokens.clock(clock.clone()).build().unwrap(),
            list: list.build().unwrap(),
            script,
            clock,
            hand,
            memory,
        }
    }

    pub(crate) async fn issue(&self, new: NewToken) -> OpaqueToken {
        self.tokens.issue(new).await.unwrap()
    }

    pub(crate) fn builder(&self) -> OpaqueTokenVerifierBuilder {
        OpaqueTokenVerifier::builder(self.tokens.clone()).revocations(self.list.clone())
    }

    pub(crate) fn verifier(&self) -> OpaqueTokenVerifier {
        self.builder().audience("orders").build().unwrap()
    }
}

/// An access token of Ann's, with everything that a rule could concern.
pub(crate) fn of_ann() -> NewToken {
    NewToken::access("shop", HOUR)
        .subject("ann")
        .audience("orders")
        .grant("g1")
        .session("s1")
        .scope("orders:read")
        .scope("orders:write")
        .claim("tenant", "acme")
}

pub(crate) fn presented(token: &OpaqueToken) -> BearerToken {
    BearerToken::new(token.as_str()).unwrap()
}

pub(crate) async fn verified(
    verifier: &OpaqueTokenVerifier,
    token: &OpaqueToken,
) -> Result<Authenticated, Reason> {
    let verified = verifier.verify(&presented(token)).await;
    verified.map_err(|rejection: Rejection| rejection.reason())
}

/// Returns why the token is rejected. `None` if it is accepted.
pub(crate) async fn reason(verifier: &OpaqueTokenVerifier, token: &OpaqueToken) -> Option<Reason> {
    verified(verifier, token).await.err()
}
