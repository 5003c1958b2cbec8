//! Tests what ends the watch of a token, and what does not.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use serde_json::{Value, json};
use tower_revoke_core::{
    Clock, ManualClock, Revocation, RevocationKey, Revocations, Store, TokenEnd, UnixTime,
    VerifiedToken, WatchToken,
};
use tower_revoke_list::{MemoryStore, RevocationList};

use crate::support::{
    Behavior, ISSUED, ISSUER, LEEWAY, Steered, ann_logs_out, end_of, lift, new_use, server::Server,
    token, token_of,
};

const MAX_STALENESS: Duration = Duration::from_secs(5);
const UNKNOWN_TIMEOUT: Duration = Duration::from_secs(60);

fn watch(list: &RevocationList, token: &VerifiedToken) -> Box<dyn WatchToken> {
    let list: Arc<dyn Revocations> = list.clone().into();
    list.watch(token, Some(UNKNOWN_TIMEOUT))
}

struct World {
    clock: Clock,
    hand: ManualClock,
}

impl World {
    fn new() -> Self {
        let (clock, hand) = Clock::manual(ISSUED);
        Self { clock, hand }
    }

    fn list(&self, store: impl Store) -> RevocationList {
        RevocationList::builder(store)
            .max_staleness(MAX_STALENESS)
            .clock(self.clock.clone())
            .build()
            .unwrap()
    }

    /// Lets time pass for the clock and for tokio.
    async fn pass(&self, time: Duration) {
        let step = Duration::from_millis(250);
        let mut left = time;
        while !left.is_zero() {
            let step = step.min(left);
            self.hand.advance(step);
            tokio::time::sleep(step).await;
            left -= step;
        }
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn polled(self: &Arc<Self>, watch: &dyn WatchToken) {
        let waker = Waker::from(self.clone());
        let polled = watch.poll_end(&mut Context::from_waker(&waker));
        assert_eq!(polled, Poll::Pending);
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn claims(jti: &str, subject: &str, issued_at: UnixTime) -> Value {
    json!({
        "iss": ISSUER, "sub": subject, "jti": jti, "client_id": format!("app of {subject}"),
        "sid": format!("session of {subject}"), "tenant": format!("tenant of {subject}"),
        "iat": issued_at, "exp": ISSUED.as_secs() + 3_600,
    })
}

fn ruled(jti: &str, subject: &str) -> VerifiedToken {
    token_of(claims(jti, subject, ISSUED))
        .with_rule_claim("tenant")
        .unwrap()
}

#[tokio::test]
async fn every_key_of_a_token_ends_its_watch_and_no_other_does() {
    for key in [
        ruled("a", "ann").id().into(),
        RevocationKey::subject(ISSUER, "ann"),
        RevocationKey::client(ISSUER, "app of ann"),
        RevocationKey::session(ISSUER, "session of ann"),
        RevocationKey::claim(ISSUER, "tenant", "tenant of ann"),
        RevocationKey::issuer(ISSUER),
    ] {
        let list = World::new().list(MemoryStore::new());
        let (ann, bob) = (
            watch(&list, &ruled("a", "ann")),
            watch(&list, &ruled("b", "bob")),
        );
        let wakes = [Arc::<Wakes>::default(), Arc::default()];
        wakes[0].polled(&*ann);
        wakes[1].polled(&*bob);
        let is_issuer = key == RevocationKey::issuer(ISSUER);
        list.revoke(match &key {
            RevocationKey::Token(id) => Revocation::of_token(*id, None),
            rule => Revocation::rule(rule.clone(), ISSUED).unwrap(),
        })
        .await
        .unwrap();
        assert_eq!(ann.end(), Some(TokenEnd::Revoked), "{key:?}");
        assert_eq!(bob.end().is_some(), is_issuer, "{key:?}");
        let woken = [wakes[0].count(), wakes[1].count()];
        assert_eq!(woken, [1, usize::from(is_issuer)], "{key:?}");
    }
}

#[tokio::test]
async fn a_rule_ends_what_was_issued_at_or_before_it() {
    let list = World::new().list(MemoryStore::new());
    let later = ISSUED.saturating_add(LEEWAY + Duration::from_secs(1));
    let later = watch(&list, &token_of(claims("b", "ann", later)));
    let before = watch(&list, &token("a"));
    list.revoke(ann_logs_out(ISSUED)).await.unwrap();
    assert_eq!(before.end(), Some(TokenEnd::Revoked));
    assert_eq!(later.end(), None);
}

#[tokio::test]
async fn a_token_that_was_revoked_before_it_is_watched_has_ended() {
    for has_feed in [true, false] {
        let server = Server::new();
        if !has_feed {
            server.hide_feed();
        }
        let list = World::new().list(server);
        list.ready().await.unwrap();
        list.revoke(end_of(&token("1"))).await.unwrap();
        let watch = watch(&list, &token("1"));
        assert_eq!(poll_fn(|cx| watch.poll_end(cx)).await, TokenEnd::Revoked);
    }
}

#[tokio::test]
async fn what_is_spent_is_watched_further() {
    let world = World::new();
    let server = Server::new();
    server.push();
    let (here, there) = (world.list(server.clone()), world.list(server));
    there.ready().await.unwrap();
    let (used, spent, last) = (token("1"), token("2"), token("3"));
    let watches: Vec<_> = [&here, &there]
        .into_iter()
        .flat_map(|list| [&used, &spent, &last].map(|token| watch(list, token)))
        .collect();
    here.take_use(new_use(&used, 1, 1)).await.unwrap();
    here.revoke(Revocation::of_spent_token(spent.id(), None))
        .await
        .unwrap();
    here.revoke(end_of(&last)).await.unwrap();
    assert_eq!(
        poll_fn(|cx| watches[5].poll_end(cx)).await,
        TokenEnd::Revoked
    );
    let ends = watches.iter().map(|watch| watch.end().is_some());
    assert_eq!(
        ends.collect::<Vec<_>>(),
        [false, false, true, false, false, true]
    );
    assert_eq!(watch(&there, &used).end(), None);
}

#[tokio::test(start_paused = true)]
async fn a_feed_ends_watches_on_other_nodes_as_soon_as_it_tells() {
    let world = World::new();
    let server = Server::new();
    server.push();
    let (a, b) = (world.list(server.clone()), world.list(server.clone()));
    b.ready().await.unwrap();
    let (own, rule) = (watch(&b, &token("1")), watch(&b, &token("2")));
    let other = watch(&b, &ruled("3", "bob"));
    a.revoke(end_of(&token("1"))).await.unwrap();
    assert_eq!(poll_fn(|cx| own.poll_end(cx)).await, TokenEnd::Revoked);
    a.revoke(ann_logs_out(ISSUED)).await.unwrap();
    assert_eq!(poll_fn(|cx| rule.poll_end(cx)).await, TokenEnd::Revoked);
    assert_eq!(other.end(), None);
    assert_eq!(b.stats().ended_watches, 2);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_is_lifted_in_the_same_page_ends_nothing() {
    let world = World::new();
    let server = Server::new();
    let (a, b) = (world.list(server.clone()), world.list(server.clone()));
    b.ready().await.unwrap();
    let (lifted, revoked) = (watch(&b, &token("1")), watch(&b, &token("2")));
    a.revoke(end_of(&token("1"))).await.unwrap();
    assert!(a.lift(lift(token("1").id())).await.unwrap());
    a.revoke(end_of(&token("2"))).await.unwrap();
    assert_eq!(poll_fn(|cx| revoked.poll_end(cx)).await, TokenEnd::Revoked);
    assert_eq!(lifted.end(), None);
    assert_eq!(b.stats().ended_watches, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lift_takes_an_end_back_unless_another_revocation_stands() {
    let world = World::new();
    for has_feed in [true, false] {
        let server = Server::new();
        server.push();
        if !has_feed {
            server.hide_feed();
        }
        let list = world.list(server);
        list.ready().await.unwrap();
        let watch = watch(&list, &token("1"));
        list.revoke(end_of(&token("1"))).await.unwrap();
        list.revoke(ann_logs_out(ISSUED)).await.unwrap();
        list.lift(lift(token("1").id())).await.unwrap();
        world.pass(MAX_STALENESS).await;
        assert_eq!(watch.end(), Some(TokenEnd::Revoked), "the rule stands");
        list.lift(lift(RevocationKey::subject(ISSUER, "ann")))
            .await
            .unwrap();
        world.pass(MAX_STALENESS).await;
        assert_eq!(watch.end(), None, "with a feed: {has_feed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_without_a_feed_is_asked_about_many_at_once_within_max_staleness() {
    let world = World::new();
    let store = Steered::new(MemoryStore::new());
    let list = world.list(store.clone());
    let tokens: Vec<_> = (0..1_000).map(|jti| token(&jti.to_string())).collect();
    for token in &tokens {
        list.status(token).await.unwrap();
    }
    let watches: Vec<_> = tokens.iter().map(|token| watch(&list, token)).collect();
    world.pass(MAX_STALENESS).await;
    let asked = store.asked();
    store.store.revoke(&[end_of(&tokens[7])]).await.unwrap();
    world.pass(MAX_STALENESS).await;
    assert_eq!(watches[7].end(), Some(TokenEnd::Revoked));
    assert_eq!(
        watches.iter().filter(|watch| watch.end().is_some()).count(),
        1
    );
    // 1,000 tokens and the rules over them, twice.
    assert!(
        store.asked() - asked <= 6,
        "{} questions",
        store.asked() - asked
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_when_its_verifier_accepts_it_no_longer() {
    let world = World::new();
    let list = world.list(MemoryStore::new());
    let watch = watch(&list, &token("1"));
    world
        .hand
        .advance(Duration::from_secs(3_600) + LEEWAY - Duration::from_secs(1));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(watch.end(), None);
    world.pass(Duration::from_secs(1)).await;
    assert_eq!(watch.end(), Some(TokenEnd::Expired));
    assert_eq!(
        super::watch::watch(&list, &token("2")).end(),
        Some(TokenEnd::Expired)
    );
}

#[tokio::test(start_paused = true)]
async fn g4_an_outage_ends_watches_at_their_limit_and_not_before() {
    let world = World::new();
    let store = Steered::new(MemoryStore::new());
    let list = world.list(store.clone());
    let limited: Vec<_> = (0..50)
        .map(|jti| watch(&list, &token(&jti.to_string())))
        .collect();
    let kept: Arc<dyn Revocations> = list.clone().into();
    let kept = kept.watch(&token("kept"), None);
    let ended = || limited.iter().filter(|watch| watch.end().is_some()).count();
    world.pass(Duration::from_secs(10)).await;
    store.set(Behavior::Fails);
    world.pass(UNKNOWN_TIMEOUT - MAX_STALENESS).await;
    assert_eq!(ended(), 0);
    world.pass(Duration::from_secs(10)).await;
    // By chance, and not all at once.
    assert!((1..50).contains(&ended()), "{}", ended());
    world.pass(Duration::from_secs(10)).await;
    assert_eq!(limited[0].end(), Some(TokenEnd::Unknown));
    assert_eq!(ended(), 50);
    world.pass(Duration::from_secs(600)).await;
    assert_eq!(kept.end(), None);
    store.store.revoke(&[end_of(&token("kept"))]).await.unwrap();
    store.set(Behavior::Works);
    world.pass(MAX_STALENESS).await;
    assert_eq!(kept.end(), Some(TokenEnd::Revoked));
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_comes_back_ends_what_was_revoked_meanwhile() {
    let world = World::new();
    let server = Server::new();
    let list = world.list(server.clone());
    list.ready().await.unwrap();
    let watches = [watch(&list, &token("1")), watch(&list, &token("2"))];
    server.hold(true);
    server.holds(1).await;
    server.revoke(&[end_of(&token("1"))]).await.unwrap();
    server.trim();
    server.hold(false);
    assert_eq!(
        poll_fn(|cx| watches[0].poll_end(cx)).await,
        TokenEnd::Revoked
    );
    assert_eq!(watches[1].end(), None);
}

#[tokio::test]
async fn a_rule_wakes_those_that_it_concerns_and_nobody_else() {
    let world = World::new();
    let list = world.list(MemoryStore::new());
    let wakes = Arc::<Wakes>::default();
    let watches: Vec<_> = (0..10_000)
        .map(|number| {
            let subject = format!("subject {}", number % 100);
            let watch = watch(
                &list,
                &token_of(claims(&number.to_string(), &subject, ISSUED)),
            );
            wakes.polled(&*watch);
            watch
        })
        .collect();
    assert_eq!(list.stats().watches, 10_000);
    let rule = |key| Revocation::rule(key, ISSUED).unwrap();
    for nobody in [
        rule(RevocationKey::subject(ISSUER, "nobody")),
        rule(RevocationKey::issuer("https://other.example.com")),
        Revocation::rule(RevocationKey::issuer(ISSUER), UnixTime::EPOCH).unwrap(),
        end_of(&token("nobody's")),
    ] {
        list.revoke(nobody).await.unwrap();
    }
    assert_eq!((wakes.count(), list.stats().ended_watches), (0, 0));
    list.revoke(rule(RevocationKey::subject(ISSUER, "subject 7")))
        .await
        .unwrap();
    assert_eq!((wakes.count(), list.stats().ended_watches), (100, 100));
    drop(watches);
    assert_eq!(list.stats().watches, 0);
}

/// Places are used again, and the expiry of an earlier watch doesn't end a later one.
#[tokio::test(start_paused = true)]
async fn watches_that_come_and_go_leave_nothing_behind() {
    let world = World::new();
    let list = world.list(MemoryStore::new());
    for round in 0..200 {
        let soon = json!({"iss": ISSUER, "sub": "ann", "jti": format!("s{round}"), "exp": ISSUED});
        drop(watch(&list, &token_of(soon)));
    }
    let later = watch(&list, &token("1"));
    world.pass(LEEWAY + Duration::from_secs(1)).await;
    assert_eq!(later.end(), None);
    list.revoke(ann_logs_out(ISSUED)).await.unwrap();
    assert_eq!(later.end(), Some(TokenEnd::Revoked));
    assert_eq!(list.stats().ended_watches, 1);
}

/// The expiry of a token that was revoked is not forgotten when the revocation is lifted after it.
#[tokio::test(start_paused = true)]
async fn a_lift_after_the_expiry_revives_nothing() {
    for has_feed in [true, false] {
        let world = World::new();
        let server = Server::new();
        server.push();
        if !has_feed {
            server.hide_feed();
        }
        let list = world.list(server);
        list.ready().await.unwrap();
        let watch = watch(&list, &token("1"));
        list.revoke(end_of(&token("1"))).await.unwrap();
        world.hand.advance(Duration::from_secs(3_600) + LEEWAY);
        world.pass(Duration::from_secs(1)).await;
        assert_eq!(watch.end(), Some(TokenEnd::Revoked));
        list.lift(lift(token("1").id())).await.unwrap();
        world.pass(MAX_STALENESS).await;
        assert_eq!(
            watch.end(),
            Some(TokenEnd::Expired),
            "with a feed: {has_feed}"
        );
    }
}
