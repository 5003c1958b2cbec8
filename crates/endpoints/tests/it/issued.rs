//! Issued tokens at the endpoints.

use std::{sync::Arc, time::Duration};

use crate::support::{BANK, ISSUER, SHOP, any_method, basic, call, post};
use http::{HeaderValue, header};
use serde_json::json;
use tower_revoke_core::{
    BearerToken, Claims, Clock, ManualClock, Reason, RevocationKey, Revocations, TokenId,
    TokenKind, TokenStatus, TokenVerifier, UnixTime, VerifiedToken, retention::MARGIN,
};
use tower_revoke_endpoints::{AdministrationEndpoint, IntrospectionEndpoint, RevocationEndpoint};
use tower_revoke_issued::{IssuedTokens, NewToken, OpaqueToken, OpaqueTokenVerifier, Tickets};
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_testing::{Behavior, ScriptedStore, StoreOp, StoreScript};

const NOW: u64 = 1_700_000_000;
const HOUR: Duration = Duration::from_secs(3_600);

struct World {
    tokens: IssuedTokens,
    verifier: OpaqueTokenVerifier,
    list: RevocationList,
    store: MemoryStore,
    script: StoreScript,
    hand: ManualClock,
}

impl World {
    fn new() -> Self {
        let (clock, hand) = Clock::manual(UnixTime::from_secs(NOW));
        let memory = MemoryStore::new();
        let (store, script) = ScriptedStore::over(memory.clone());
        let tokens = IssuedTokens::builder(ISSUER, store).clock(clock.clone());
        let tokens = tokens.build().expect("tokens");
        let list = RevocationList::builder(MemoryStore::new()).clock(clock);
        let list = list.build().expect("a list");
        let verifier = OpaqueTokenVerifier::builder(tokens.clone()).any_audience();
        let verifier = verifier.kind(TokenKind::ACCESS).kind(TokenKind::REFRESH);
        Self {
            verifier: verifier
                .revocations(list.clone())
                .build()
                .expect("a verifier"),
            tokens,
            list,
            store: memory,
            script,
            hand,
        }
    }

    fn endpoint(&self) -> RevocationEndpoint {
        RevocationEndpoint::new(self.list.clone(), any_method()).resolver(self.tokens.clone())
    }

    async fn access(&self, client: &str, grant: &str) -> OpaqueToken {
        let new = NewToken::access(client, HOUR).subject("ann").grant(grant);
        self.tokens.issue(new.scope("read")).await.expect("a token")
    }

    async fn refresh(&self, client: &str, grant: &str) -> OpaqueToken {
        let new = NewToken::refresh(client, 24 * HOUR)
            .subject("ann")
            .grant(grant);
        self.tokens.issue(new).await.expect("a token")
    }

    async fn reason(&self, token: &OpaqueToken) -> Option<Reason> {
        let token = BearerToken::new(token.as_str()).expect("a token");
        let verified = self.verifier.verify(&token).await;
        verified.err().map(|rejection| rejection.reason())
    }
}

fn form(token: &OpaqueToken) -> String {
    format!("token={}", token.as_str())
}

#[tokio::test]
async fn rfc7009_2_1_an_issued_token_is_revoked_by_its_client_alone() {
    let world = World::new();
    let endpoint = world.endpoint();
    let (one, two) = (
        world.access("shop", "g1").await,
        world.access("shop", "g1").await,
    );
    let answer = call(&endpoint, post(Some(&basic("bank", BANK)), &form(&one))).await;
    assert_eq!(answer.error(), (400, "invalid_grant"));
    assert_eq!(world.reason(&one).await, None);
    for _ in 0..2 {
        let answer = call(&endpoint, post(Some(&basic("shop", SHOP)), &form(&one))).await;
        assert_eq!(answer.status, 200);
        assert_eq!(world.reason(&one).await, Some(Reason::Revoked));
    }
    assert_eq!(world.reason(&two).await, None, "of the same grant");
    // Of this form, but never issued.
    let unknown = format!("token={}", "a".repeat(43));
    let answer = call(&endpoint, post(Some(&basic("shop", SHOP)), &unknown)).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn rfc7009_2_1_an_issued_refresh_token_takes_its_grant_along() {
    let world = World::new();
    let refresh = world.refresh("shop", "g1").await;
    world.hand.advance(HOUR);
    let mut of_grant = Vec::new();
    for _ in 0..3 {
        of_grant.push(world.access("shop", "g1").await);
    }
    let other = world.access("shop", "g2").await;
    let request = post(Some(&basic("shop", SHOP)), &form(&refresh));
    assert_eq!(call(&world.endpoint(), request).await.status, 200);
    // One that was being issued meanwhile.
    of_grant.push(world.refresh("shop", "g1").await);
    for token in of_grant.iter().chain([&refresh]) {
        assert_eq!(world.reason(token).await, Some(Reason::Revoked));
    }
    assert_eq!(world.reason(&other).await, None);
    // The rule is kept for as long as any token of the grant could be accepted, and no longer.
    let grant = RevocationKey::grant(ISSUER, "g1");
    let listed = world.list.inspect(grant).await.expect("an answer").listed;
    let end = UnixTime::from_secs(NOW).saturating_add(25 * HOUR);
    let until = listed.expect("a rule").until();
    assert_eq!(until, Some(end.saturating_add(MARGIN)));
}

/// A server whose access tokens are JWTs stores its refresh tokens alone, and the last of them may expire
/// first.
#[tokio::test]
async fn access_tokens_that_are_not_stored_outlive_no_grant() {
    const MINUTE: Duration = Duration::from_secs(60);
    let refresh = || NewToken::refresh("shop", MINUTE).subject("ann").grant("g1");
    let end = json!({"action": "end", "issuer": ISSUER, "grant": "g1"});
    for (lifetime, expected) in [
        (None, TokenStatus::Revoked),
        (Some(2 * HOUR), TokenStatus::Revoked),
        (Some(MINUTE), TokenStatus::Valid),
    ] {
        for by_administrator in [false, true] {
            let world = World::new();
            let refresh = world.tokens.issue(refresh()).await.expect("a token");
            let answer = if by_administrator {
                let mut endpoint = AdministrationEndpoint::new(world.list.clone(), any_method())
                    .administrator(ISSUER, "shop")
                    .store(world.store.clone());
                if let Some(lifetime) = lifetime {
                    endpoint = endpoint.access_token_lifetime(lifetime);
                }
                let mut request = post(Some(&basic("shop", SHOP)), &end.to_string());
                let json = HeaderValue::from_static("application/json");
                request.headers_mut().insert(header::CONTENT_TYPE, json);
                call(&endpoint, request).await
            } else {
                let mut endpoint = world.endpoint();
                if let Some(lifetime) = lifetime {
                    endpoint = endpoint.access_token_lifetime(lifetime);
                }
                call(&endpoint, post(Some(&basic("shop", SHOP)), &form(&refresh))).await
            };
            assert_eq!(answer.status, 200);
            // The store forgets what has ended.
            world.hand.advance(HOUR);
            world.list.purge().await.expect("a purge");
            let jwt = json!({
                "iss": ISSUER, "sub": "ann", "grant_id": "g1", "jti": "1", "iat": NOW,
                "exp": NOW + 7_200,
            });
            let jwt = Claims::from_value(jwt).expect("claims");
            let jwt = VerifiedToken::new(TokenId::of_jwt(ISSUER, "1"), jwt, Duration::ZERO);
            let list: Arc<dyn Revocations> = world.list.clone().into();
            let status = list.status(&jwt).await.expect("a status");
            assert_eq!(status, expected, "{lifetime:?} {by_administrator}");
        }
    }
}

#[tokio::test]
async fn rfc7009_2_2_1_an_issued_token_can_not_be_revoked_while_the_store_is_down() {
    let world = World::new();
    let token = world.access("shop", "g1").await;
    world.script.set(StoreOp::FindIssuedToken, Behavior::Fails);
    let request = post(Some(&basic("shop", SHOP)), &form(&token));
    let answer = call(&world.endpoint(), request).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    world.script.set_all(Behavior::Works);
    assert_eq!(world.reason(&token).await, None);
}

#[tokio::test]
async fn rfc7662_2_2_issued_tokens_are_introspected_by_their_client() {
    let world = World::new();
    let endpoint = IntrospectionEndpoint::new(any_method()).verifier(world.verifier.clone());
    let (access, refresh) = (
        world.access("shop", "g1").await,
        world.refresh("shop", "g1").await,
    );
    let ask = async |client: &str, secret: &str, token: &OpaqueToken| {
        let request = post(Some(&basic(client, secret)), &form(token));
        call(&endpoint, request).await.body
    };
    let answer = ask("shop", SHOP, &access).await;
    let expected = serde_json::json!({
        "active": true, "iss": ISSUER, "sub": "ann", "client_id": "shop", "scope": "read",
        "iat": NOW, "exp": NOW + 3_600, "token_type": "Bearer",
    });
    assert_eq!(answer, expected);
    // Active, but nothing that a service could take for a bearer token.
    let expected = serde_json::json!({
        "active": true, "iss": ISSUER, "sub": "ann", "client_id": "shop",
        "iat": NOW, "exp": NOW + 24 * 3_600, "token_use": "refresh",
    });
    assert_eq!(ask("shop", SHOP, &refresh).await, expected);
    let inactive = serde_json::json!({ "active": false });
    assert_eq!(ask("bank", BANK, &access).await, inactive);
    let request = post(Some(&basic("shop", SHOP)), &form(&refresh));
    assert_eq!(call(&world.endpoint(), request).await.status, 200);
    for token in [&access, &refresh] {
        assert_eq!(ask("shop", SHOP, token).await, inactive);
    }
}

/// Whoever asks doesn't use it up, so any number of services could accept it.
#[tokio::test]
async fn rfc7662_2_2_a_ticket_is_not_active() {
    let world = World::new();
    let tickets = Tickets::new("events", MemoryStore::new(), world.list.clone()).expect("tickets");
    let access = world.access("shop", "g1").await;
    let presented = BearerToken::new(access.as_str()).expect("a token");
    let caller = world.verifier.verify(&presented).await.expect("a caller");
    let ticket = tickets.issue(&caller).await.expect("a ticket");
    let presented = BearerToken::new(ticket.as_str()).expect("a ticket");
    assert!(tickets.verifier().verify(&presented).await.is_ok());
    let endpoint = IntrospectionEndpoint::new(any_method()).verifier(tickets.verifier());
    let answer = call(&endpoint, post(Some(&basic("shop", SHOP)), &form(&ticket))).await;
    assert_eq!(answer.body, serde_json::json!({ "active": false }));
}
