//! One request with a ticket is passed on, after all checks.

use tower_revoke_bearer::RequireBearerLayer;
use tower_revoke_core::{
    BearerToken, IssuedToken, Reason, Store, TokenHash, TokenKind, TokenVerifier, VerifierSet,
};
use tower_revoke_issued::Tickets;
use tower_revoke_testing::{Behavior, ScriptedStore, StoreOp};

use crate::support::{ISSUER, NOW, World, secs};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_requests_on_two_nodes_wins() {
    let world = World::new();
    let nodes = [world.node(), world.node()];
    for _ in 0..20 {
        let ticket = nodes[0].ticket(world.token()).await;
        let before = nodes[0].served() + nodes[1].served();
        let calls = (0..32).map(|number| {
            let (node, ticket) = (nodes[number % 2].clone(), ticket.as_str().to_owned());
            tokio::spawn(async move { node.present(&ticket).await.err() })
        });
        let calls: Vec<_> = calls.collect();
        let mut won = 0;
        for call in calls {
            match call.await.expect("no panic") {
                None => won += 1,
                Some(reason) => assert_eq!(reason, Reason::Spent),
            }
        }
        assert_eq!(won, 1);
        assert_eq!(nodes[0].served() + nodes[1].served() - before, 1);
    }
}

/// TRAPS 60: a side effect before the last check.
#[tokio::test]
async fn trap_60_a_request_that_fails_another_check_leaves_the_ticket() {
    let world = World::new();
    let node = world.node();
    let ticket = node.ticket(world.token()).await;
    let wrong = [
        (node.layer().scope("admin"), Reason::InsufficientScope),
        (
            node.layer().claim("tenant", "acme"),
            Reason::InsufficientScope,
        ),
    ];
    for (layer, reason) in wrong {
        assert_eq!(
            node.present_to(layer, ticket.as_str()).await.err(),
            Some(reason)
        );
    }
    // Who only verifies it, as an introspection endpoint, doesn't use it either.
    let presented = BearerToken::new(ticket.as_str()).expect("a token");
    for _ in 0..2 {
        node.tickets
            .verifier()
            .verify(&presented)
            .await
            .expect("valid");
    }
    assert_eq!(node.served(), 0);
    node.present(ticket.as_str()).await.expect("its use");
    assert_eq!(
        node.present(ticket.as_str()).await.err(),
        Some(Reason::Spent)
    );
}

#[tokio::test]
async fn an_observing_layer_passes_a_used_ticket_on_without_its_caller() {
    let world = World::new();
    let node = world.node();
    let ticket = node.ticket(world.token()).await;
    node.present(ticket.as_str()).await.expect("its use");
    let observing = node.layer().observe();
    let seen = tokio::spawn({
        let (node, ticket) = (node.clone(), ticket.as_str().to_owned());
        async move { node.present_to(observing, &ticket).await }
    });
    assert!(seen.await.unwrap_err().is_panic(), "there is no caller");
    assert_eq!(node.served(), 2);
}

#[tokio::test]
async fn a_use_that_is_not_recorded_is_a_503_and_the_ticket_is_left() {
    let world = World::new();
    let (store, script) = ScriptedStore::over(world.store.clone());
    let node = world.node_with(store, world.store.clone(), |tokens| tokens);
    let ticket = node.ticket(world.token()).await;
    for behavior in [Behavior::Fails, Behavior::LosesTheAnswer] {
        script.set(StoreOp::TakeUse, behavior);
        let rejected = node.present(ticket.as_str()).await.err();
        assert_eq!(rejected, Some(Reason::Unavailable), "{behavior:?}");
    }
    assert_eq!(node.served(), 0);
    script.set(StoreOp::TakeUse, Behavior::Works);
    node.present(ticket.as_str()).await.expect("its use");
}

#[tokio::test]
async fn what_is_not_a_ticket_is_rejected() {
    let world = World::new();
    let (store, script) = ScriptedStore::over(world.store.clone());
    let node = world.node_with(world.store.clone(), store, |tokens| tokens);
    let ticket = node.ticket(world.token()).await;
    let found = script.calls(StoreOp::FindIssuedToken);
    let ticket = ticket.as_str();
    for text in [
        &world.token().sign(),
        "tkt_",
        "x",
        &ticket[..ticket.len() - 1],
        &format!("{ticket}A"),
        &ticket.replace("tkt_", "tkt-"),
        &ticket.replace("tkt_", ""),
    ] {
        assert_eq!(
            node.present(text).await.err(),
            Some(Reason::MalformedToken),
            "{text}"
        );
    }
    assert_eq!(
        script.calls(StoreOp::FindIssuedToken),
        found,
        "the store was not asked"
    );
    let unknown = format!("tkt_{}", "A".repeat(43));
    assert_eq!(
        node.present(&unknown).await.err(),
        Some(Reason::UnknownToken)
    );
    // An access token that happens to have the form.
    let hash = TokenHash::of(unknown.as_bytes());
    let mut row = IssuedToken::new(hash, TokenKind::ACCESS, ISSUER, "shop", NOW);
    row.expires_at = Some(NOW.saturating_add(secs(100)));
    let issued = world.store.issued_tokens().expect("issued tokens");
    issued.insert(&row).await.expect("it is stored");
    assert_eq!(node.present(&unknown).await.err(), Some(Reason::WrongType));
    script.set_all(Behavior::Fails);
    assert_eq!(node.present(ticket).await.err(), Some(Reason::Unavailable));
}

/// Whatever it may do there was for the service that issued it to say.
#[tokio::test]
async fn another_service_over_the_same_store_rejects_a_ticket() {
    let world = World::new();
    let node = world.node();
    let of = |audience| Tickets::new(audience, world.store.clone(), node.list.clone());
    let ticket = node.ticket(world.token()).await;
    let admin = of("admin").expect("tickets");
    let layer = RequireBearerLayer::new(admin.verifier()).query();
    let rejected = node.present_to(layer, ticket.as_str()).await.err();
    assert_eq!(rejected, Some(Reason::WrongAudience));
    assert_eq!(node.served(), 0);
    // Another program of the same service.
    let same = of("events").expect("tickets");
    let layer = RequireBearerLayer::new(same.verifier()).query();
    let accepted = node.present_to(layer, ticket.as_str()).await;
    assert_eq!(accepted.expect("its use").subject(), Some("ann"));
}

#[tokio::test]
async fn a_layer_may_take_tokens_and_tickets() {
    let world = World::new();
    let node = world.node();
    let either = VerifierSet::builder()
        .jwt(node.tokens.clone())
        .prefix(node.tickets.prefix(), node.tickets.verifier())
        .build()
        .expect("a set");
    let layer = RequireBearerLayer::new(either).query();
    let ticket = node.ticket(world.token()).await;
    let token = world.token().sign();
    for _ in 0..2 {
        node.present_to(layer.clone(), &token)
            .await
            .expect("a token");
    }
    let once = node.present_to(layer.clone(), ticket.as_str()).await;
    assert_eq!(once.expect("its use").subject(), Some("ann"));
    let again = node.present_to(layer, ticket.as_str()).await;
    assert_eq!(again.err(), Some(Reason::Spent));
    // The use of the ticket is not one of the token's.
    let caller = node.caller(world.token()).await;
    caller.take_use_of::<1>().await.expect("a use");
}
