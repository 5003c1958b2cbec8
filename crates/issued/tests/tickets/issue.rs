//! What a ticket says, and what can't be issued.

use std::time::Duration;

use static_assertions::assert_impl_all;
use tower_revoke_core::{Reason, Rejection};
use tower_revoke_issued::{IssueError, IssueTicket, TicketVerifier, Tickets, TicketsError};
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_testing::{Behavior, ScriptedStore, StoreOp};

use crate::support::World;

assert_impl_all!(Tickets: Clone, Send, Sync);
assert_impl_all!(TicketVerifier: Clone, Send, Sync);
assert_impl_all!(IssueTicket: Send);

#[tokio::test]
async fn a_ticket_has_the_scopes_and_claims_that_it_is_given() {
    let world = World::new();
    let node = world.node();
    let token = || {
        world
            .token()
            .claim("email", "ann@example.com")
            .claim("level", 3)
    };
    let caller = node.caller(token()).await;
    let issue = || node.tickets.issue(&caller).scope("events");
    let plain = issue().await.expect("a ticket");
    let opened = node.present(plain.as_str()).await.expect("its use");
    assert_eq!(
        (opened.issuer(), opened.subject()),
        (caller.issuer(), caller.subject())
    );
    assert_eq!(opened.client(), Some("shop"));
    assert_eq!(opened.scopes().collect::<Vec<_>>(), ["events"]);
    for name in ["email", "level", "tenant", "jti", "aud"] {
        assert_eq!(opened.get(name), None, "{name}");
    }
    let more = issue()
        .scope("chat")
        .claim("level")
        .claim("tenant")
        .claim("absent");
    let more = more.await.expect("a ticket");
    let opened = node.present(more.as_str()).await.expect("its use");
    assert!(opened.has_scope("events") && opened.has_scope("chat") && !opened.has_scope("api"));
    assert_eq!(opened.get("level"), Some(&3.into()));
    assert_eq!(opened.get("tenant"), Some(&"acme".into()));
    // A copied claim changes neither the scopes, nor the client, nor the times.
    let tricky = token().claim("azp", "shop").claim("scp", "api");
    let caller = node.caller(tricky).await;
    let issue = node.tickets.issue(&caller).scope("events");
    let ticket = ["scope", "scp", "azp", "exp", "sub"]
        .into_iter()
        .fold(issue, IssueTicket::claim);
    let ticket = ticket.await.expect("a ticket");
    let opened = node.present(ticket.as_str()).await.expect("its use");
    assert_eq!(opened.scopes().collect::<Vec<_>>(), ["events"]);
    assert_eq!(opened.expires_at(), caller.expires_at());
    // Without a scope, it opens nothing that wants one.
    let none = node.tickets.issue(&caller).await.expect("a ticket");
    assert_eq!(
        node.present(none.as_str()).await.err(),
        Some(Reason::InsufficientScope)
    );
}

#[tokio::test]
async fn no_ticket_is_issued_for_a_ticket() {
    let world = World::new();
    let node = world.node();
    let caller = node.caller(world.token()).await;
    let ticket = node.tickets.issue(&caller).scope("events").await;
    let ticket = ticket.expect("a ticket");
    let opened = node.present(ticket.as_str()).await.expect("its use");
    let error = node.tickets.issue(&opened).scope("events").await;
    let error = error.expect_err("another ticket");
    assert!(matches!(error, IssueError::ForTicket), "{error:?}");
    assert_eq!(Rejection::from(error).reason(), Reason::WrongType);
}

#[tokio::test]
async fn tickets_are_random_and_not_shown() {
    let world = World::new();
    let node = world.node();
    let (one, two) = (
        node.ticket(world.token()).await,
        node.ticket(world.token()).await,
    );
    assert_ne!(one.as_str(), two.as_str());
    assert_eq!(one.as_str().len(), "tkt_".len() + 43);
    assert!(!format!("{one:?}").contains(&one.as_str()[4..12]));
}

#[tokio::test]
async fn a_ticket_that_is_not_stored_is_not_issued() {
    let world = World::new();
    let (store, script) = ScriptedStore::over(world.store.clone());
    let node = world.node_with(world.store.clone(), store, |tokens| tokens);
    let caller = node.caller(world.token()).await;
    script.set(StoreOp::InsertIssuedToken, Behavior::Fails);
    let error = node.tickets.issue(&caller).await.unwrap_err();
    assert_eq!(Rejection::from(error).reason(), Reason::Unavailable);
    for scope in ["", "two words", "quo\"te", "é"] {
        let error = node.tickets.issue(&caller).scope(scope).await.unwrap_err();
        assert!(
            matches!(&error, IssueError::Scope(wrong) if wrong == scope),
            "{error}"
        );
        assert_eq!(Rejection::from(error).reason(), Reason::Misconfigured);
    }
}

#[test]
fn what_can_t_work_is_not_built() {
    let list = RevocationList::in_memory();
    let of = |audience| Tickets::builder(audience, MemoryStore::new(), list.clone());
    let error = of("").build().unwrap_err();
    assert!(matches!(error, TicketsError::MissingAudience), "{error}");
    let builder = || of("events");
    for prefix in ["ticket ", "ä", "a/b", "a+b", &"x".repeat(33)] {
        let error = builder().prefix(prefix).build().unwrap_err();
        assert!(
            matches!(&error, TicketsError::Prefix(wrong) if wrong == prefix),
            "{error}"
        );
    }
    for millis in [0, 999, 300_001] {
        let timeout = Duration::from_millis(millis);
        let error = builder().redeem_timeout(timeout).build().unwrap_err();
        assert!(matches!(error, TicketsError::RedeemTimeout(wrong) if wrong == timeout));
    }
}
