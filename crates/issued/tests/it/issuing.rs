//! What is drawn, stored and refused.

use std::{collections::BTreeSet, fmt::Debug};

use crate::support::{HOUR, ISSUER, NOW, World, of_ann, presented};
use tower_revoke_core::{
    IssuedTokenStore, KeyDigest, Lift, Listed, Revocation, Store, StoreError, TokenHash, TokenKind,
    UnixTime, Use, UseOutcome,
};
use tower_revoke_issued::{IssueError, IssuedTokens, IssuedTokensError, NewToken};
use tower_revoke_list::MemoryStore;

fn shows(value: impl Debug) -> String {
    format!("{value:?} {value:#?}")
}

#[tokio::test]
async fn a_token_is_the_prefix_and_256_bits_and_only_its_hash_is_stored() {
    let world = World::new();
    let mut drawn = BTreeSet::new();
    for _ in 0..100 {
        let token = world.issue(of_ann()).await;
        let random = token.as_str().strip_prefix("acme_").unwrap();
        assert_eq!(random.len(), 43, "256 bits in base64url");
        assert!(drawn.insert(random.to_owned()), "drawn twice");
        assert!(!shows(&token).contains(&random[..4]));
        let row = world.tokens.find(&presented(&token)).await.unwrap();
        let row = row.unwrap();
        assert_eq!(row.hash, TokenHash::of(token.as_str().as_bytes()));
        let stored = serde_json::to_string(&row).unwrap();
        assert!(!stored.contains(random) && !shows(&row).contains(random));
    }
}

#[tokio::test]
async fn a_row_says_what_was_issued() {
    let world = World::new();
    let key = KeyDigest::from_bytes([7; 16]);
    let token = world.issue(of_ann().key(key)).await;
    let row = world.memory.find(&token.hash()).await.unwrap().unwrap();
    assert_eq!(row.kind, TokenKind::ACCESS);
    assert_eq!((&*row.issuer, &*row.client), (ISSUER, "shop"));
    assert_eq!(row.subject.as_deref(), Some("ann"));
    assert_eq!(row.scopes, ["orders:read", "orders:write"]);
    assert_eq!(row.audience, ["orders"]);
    assert_eq!(row.grant.as_deref(), Some("g1"));
    assert_eq!(row.session.as_deref(), Some("s1"));
    assert_eq!(row.issued_at, UnixTime::from_secs(NOW));
    assert_eq!(row.expires_at, Some(UnixTime::from_secs(NOW + 3_600)));
    assert_eq!(row.keys, [key]);
    assert_eq!(row.claims["tenant"], "acme");
    let refresh = world.issue(NewToken::refresh("shop", HOUR)).await;
    let row = world.memory.find(&refresh.hash()).await.unwrap().unwrap();
    assert_eq!(row.kind, TokenKind::REFRESH);
    assert_eq!(row.subject, None);
}

#[tokio::test]
async fn the_tokens_of_a_subject_and_of_a_grant_are_listed() {
    let world = World::new();
    for number in 0..5 {
        world.issue(of_ann().grant(format!("g{number}"))).await;
    }
    world.issue(NewToken::access("shop", HOUR)).await;
    let page = world.tokens.of_subject("ann", None, 3).await.unwrap();
    let next = page.next.as_ref();
    let rest = world.tokens.of_subject("ann", next, 3).await.unwrap();
    assert_eq!((page.tokens.len(), rest.tokens.len()), (3, 2));
    assert_eq!(rest.next, None);
    let page = world.tokens.of_grant("g3", None, 3).await.unwrap();
    assert_eq!(page.tokens.len(), 1);
    assert_eq!(page.tokens[0].grant.as_deref(), Some("g3"));
}

#[tokio::test]
async fn what_services_could_not_read_is_not_issued() {
    let world = World::new();
    for scope in ["", "a b", "a\"b", "a\\b", "ä", "a\n"] {
        let refused = world.tokens.issue(of_ann().scope(scope)).await;
        let refused = refused.unwrap_err();
        assert!(matches!(&refused, IssueError::Scope(named) if named == scope));
    }
    for name in [
        "iss",
        "sub",
        "exp",
        "iat",
        "nbf",
        "aud",
        "scope",
        "client_id",
        "token_use",
    ] {
        let refused = world.tokens.issue(of_ann().claim(name, "x")).await;
        let refused = refused.unwrap_err();
        assert!(matches!(&refused, IssueError::Reserved(named) if named == name));
    }
    // Another client, by a claim that names one, too.
    let refused = world.tokens.issue(of_ann().claim("azp", "bank")).await;
    assert!(matches!(refused, Err(IssueError::Claims(_))), "{refused:?}");
    assert!(world.memory.is_empty());
}

/// Other issuers use them for the client and the scopes.
#[tokio::test]
async fn further_claims_name_neither_the_client_nor_the_scopes() {
    let world = World::new();
    let theirs = of_ann().claim("cid", 7).claim("appid", "bank");
    let token = world.issue(theirs.claim("scp", "admin")).await;
    let row = world.tokens.find(&presented(&token)).await.unwrap();
    let claims = row.unwrap().to_claims().unwrap();
    assert_eq!(claims.get("cid"), Some(&7.into()));
    assert_eq!(claims.client(), Some("shop"));
    assert!(!claims.has_scope("admin"));
}

#[tokio::test]
async fn a_full_store_issues_nothing() {
    let store = MemoryStore::new().capacity(1);
    let tokens = IssuedTokens::builder(ISSUER, store).build().unwrap();
    tokens.issue(of_ann()).await.unwrap();
    let refused = tokens.issue(of_ann()).await;
    let is_full = matches!(refused, Err(IssueError::Store(StoreError::Full(1))));
    assert!(is_full, "{refused:?}");
}

#[test]
fn wrong_settings_are_errors() {
    let build = |issuer: &str, prefix: &str| {
        let builder = IssuedTokens::builder(issuer, MemoryStore::new());
        builder.prefix(prefix).build()
    };
    assert!(matches!(
        build("", "a"),
        Err(IssuedTokensError::MissingIssuer)
    ));
    for prefix in ["a b", "a/b", "ä", "a=", "\"", &"a".repeat(33)] {
        let error = build(ISSUER, prefix).unwrap_err();
        assert!(matches!(error, IssuedTokensError::Prefix(named) if named == prefix));
    }
    assert!(build(ISSUER, &"a".repeat(32)).is_ok());
    let without = IssuedTokens::builder(ISSUER, Without(MemoryStore::new()));
    assert!(matches!(
        without.build(),
        Err(IssuedTokensError::Unsupported)
    ));
}

/// A store that keeps no issued tokens.
struct Without(MemoryStore);

impl Store for Without {
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        self.0.revoke(revocations).await
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        self.0.lift(lift).await
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        self.0.look_up(keys).await
    }

    async fn take_use(&self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        self.0.take_use(use_, now).await
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        self.0.return_use(use_).await
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        self.0.purge(before).await
    }
}
