//! Tokens with the keys of another token: what ends that one ends them too.

use tower_revoke_core::{Clock, Revocation, RevocationKey, Store, TokenStatus, VerifiedToken};
use tower_revoke_list::{MemoryStore, RevocationList};

use crate::support::{ISSUED, ISSUER, Steered, end_of, lift, server::Server, token, token_of};

/// A token of nobody's, with a key of `parent`'s and one of a session.
fn child(parent: &VerifiedToken) -> VerifiedToken {
    let session = RevocationKey::session(ISSUER, "s1").digest();
    let claims = serde_json::json!({ "iss": "i", "jti": "child", "iat": ISSUED, "tenant": "acme" });
    let child = token_of(claims)
        .with_key(parent.keys()[0])
        .with_key(session);
    child.with_rule_claim("tenant").unwrap()
}

async fn ended_with_its_parent(store: impl Store) {
    let clock = Clock::manual(ISSUED).0;
    let list = RevocationList::builder(store).clock(clock).build().unwrap();
    list.ready().await.unwrap();
    let parent = token("parent");
    let status = async |token: &VerifiedToken| list.status(token).await.unwrap();
    let seen = child(&parent);
    for key in [
        RevocationKey::from(parent.id()),
        RevocationKey::session(ISSUER, "s1"),
        RevocationKey::claim("i", "tenant", "acme"),
        RevocationKey::issuer("i"),
    ] {
        assert_eq!(status(&seen).await, TokenStatus::Valid);
        let revocation = match key.is_rule() {
            true => Revocation::rule(key.clone(), ISSUED).unwrap(),
            false => end_of(&parent),
        };
        list.revoke(revocation).await.unwrap();
        for token in [&seen, &child(&parent)] {
            assert_eq!(status(token).await, TokenStatus::Revoked, "{key:?}");
        }
        assert_eq!(status(&token("other")).await, TokenStatus::Valid);
        assert!(list.lift(lift(key)).await.unwrap());
        assert_eq!(status(&seen).await, TokenStatus::Valid);
    }
    list.revoke(Revocation::of_spent_token(parent.id(), None))
        .await
        .unwrap();
    assert_eq!(status(&seen).await, TokenStatus::Spent);
}

#[tokio::test]
async fn a_token_ends_with_the_one_whose_keys_it_has_in_memory() {
    ended_with_its_parent(MemoryStore::new()).await;
}

#[tokio::test]
async fn a_token_ends_with_the_one_whose_keys_it_has_by_look_ups() {
    ended_with_its_parent(Steered::new(MemoryStore::new())).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_with_the_one_whose_keys_it_has_in_the_mirror() {
    ended_with_its_parent(Server::new()).await;
}
