//! A ticket, and what it has opened, ends with the token that it stands for.

use std::sync::Arc;

use tower_revoke_core::{
    Authenticated, ClaimNames, Reason, Revocation, RevocationKey, Revocations, TokenStatus,
    UnixTime,
};
use tower_revoke_list::RevocationList;

use crate::support::{ISSUER, NOW, World, secs};

async fn status(list: &RevocationList, caller: &Authenticated) -> TokenStatus {
    let list: Arc<dyn Revocations> = list.clone().into();
    list.status(caller.token()).await.expect("a status")
}

#[tokio::test]
async fn whatever_ends_the_token_ends_its_tickets_and_what_they_opened() {
    for key in [
        None,
        Some(RevocationKey::issuer(ISSUER)),
        Some(RevocationKey::subject(ISSUER, "ann")),
        Some(RevocationKey::client(ISSUER, "shop")),
        Some(RevocationKey::session(ISSUER, "s1")),
        Some(RevocationKey::grant(ISSUER, "g1")),
        Some(RevocationKey::claim(ISSUER, "tenant", "acme")),
    ] {
        let world = World::new();
        let (here, there) = (world.node(), world.node());
        let caller = here.caller(world.token()).await;
        let used = here.ticket(world.token()).await;
        let unused = here.ticket(world.token()).await;
        let opened = there.present(used.as_str()).await.expect("its use");
        assert_eq!(opened.token().keys(), caller.token().keys());
        assert_eq!(opened.token_id(), caller.token_id());
        assert_eq!(
            status(&there.list, &opened).await,
            TokenStatus::Valid,
            "its use ended nothing"
        );
        let revocation = match &key {
            None => Revocation::of_token(caller.token_id(), caller.expires_at()),
            Some(key) => Revocation::all_of(key.clone()).expect("a rule"),
        };
        here.list.revoke(revocation).await.expect("a revocation");
        // As much as a node may be behind.
        world.hand.advance(secs(6));
        assert_eq!(
            status(&there.list, &opened).await,
            TokenStatus::Revoked,
            "{key:?}"
        );
        for node in [&here, &there] {
            let rejected = node.present(unused.as_str()).await.err();
            assert_eq!(rejected, Some(Reason::Revoked), "{key:?}");
        }
    }
}

/// The client of the token is the one that its verifier reads.
#[tokio::test]
async fn the_claims_of_the_issuer_are_followed() {
    let world = World::new();
    let names = ClaimNames::default().client("app").session("login");
    let store = world.store.clone();
    let node = world.node_with(store.clone(), store, |tokens| tokens.claim_names(names));
    let token = || world.token().claim("app", "bank").claim("login", "l1");
    let caller = node.caller(token()).await;
    let ticket = node.ticket(token()).await;
    let opened = node.present(ticket.as_str()).await.expect("its use");
    assert_eq!(opened.client(), Some("bank"));
    assert_eq!(
        opened.session_key(),
        Some(RevocationKey::session(ISSUER, "l1"))
    );
    assert_eq!(opened.token().keys(), caller.token().keys());
}

#[tokio::test]
async fn a_rule_concerns_a_ticket_as_it_concerns_its_token() {
    let world = World::new();
    let store = world.store.clone();
    let node = world.node_with(store.clone(), store, |tokens| tokens.leeway(secs(300)));
    // Issued after the time of the rule, but within the leeway.
    let token = || world.token().issued_at(NOW);
    let rule = |at: UnixTime| {
        let key = RevocationKey::subject(ISSUER, "ann");
        Revocation::rule(key, at).expect("a rule")
    };
    let ticket = node.ticket(token()).await;
    let too_old = rule(UnixTime::from_secs(NOW.as_secs() - 301));
    node.list.revoke(too_old).await.expect("a revocation");
    let opened = node.present(ticket.as_str()).await.expect("its use");
    let unused = node.ticket(token()).await;
    let within = rule(UnixTime::from_secs(NOW.as_secs() - 300));
    node.list.revoke(within).await.expect("a revocation");
    assert_eq!(status(&node.list, &opened).await, TokenStatus::Revoked);
    assert_eq!(
        node.present(unused.as_str()).await.err(),
        Some(Reason::Revoked)
    );
}

#[tokio::test]
async fn a_ticket_is_short_lived_and_what_it_opened_is_not() {
    let world = World::new();
    let node = world.node();
    let hour = || world.token().expires_in(secs(3_600));
    let parent = node.caller(hour()).await;
    let (first, second) = (node.ticket(hour()).await, node.ticket(hour()).await);
    assert_eq!(node.tickets.redeem_timeout(), secs(30));
    world.hand.advance(secs(29));
    let opened = node.present(first.as_str()).await.expect("its use");
    assert_eq!(opened.token().usable_until(), parent.token().usable_until());
    assert_eq!(opened.expires_at(), parent.expires_at());
    world.hand.advance(secs(1));
    assert_eq!(
        node.present(second.as_str()).await.err(),
        Some(Reason::Expired)
    );
    // Once the store has forgotten the ticket, nobody can use it again.
    world.hand.advance(secs(1_000));
    node.list.purge().await.expect("a purge");
    for ticket in [first, second] {
        let rejected = node.present(ticket.as_str()).await.err();
        assert_eq!(rejected, Some(Reason::UnknownToken));
    }
    assert_eq!(status(&node.list, &opened).await, TokenStatus::Valid);
}

#[tokio::test]
async fn a_ticket_ends_no_later_than_its_token() {
    let world = World::new();
    let node = world.node();
    let ticket = node.ticket(world.token().expires_in(secs(10))).await;
    // With the leeway of 30 s.
    world.hand.advance(secs(29));
    node.present(ticket.as_str()).await.expect("its use");
    let short = World::new();
    let store = short.store.clone();
    let node = short.node_with(store.clone(), store, |tokens| tokens.leeway(secs(0)));
    let ticket = node.ticket(short.token().expires_in(secs(10))).await;
    short.hand.advance(secs(9));
    let other = node.ticket(short.token().expires_in(secs(1))).await;
    short.hand.advance(secs(1));
    for ticket in [ticket, other] {
        assert_eq!(
            node.present(ticket.as_str()).await.err(),
            Some(Reason::Expired)
        );
    }
}
