//! Property test with any sequence of local and remote writes, pages, gaps, losses and reloads: a
//! local write is visible locally, and once the feed was read, the mirror agrees with the store.

use proptest::prelude::*;
use tower_revoke_core::{
    Lift, Revocation, RevocationKey, Store, TokenStatus, UnixTime, UseOutcome, VerifiedToken,
};
use tower_revoke_list::MirrorState;
use tower_revoke_testing::{Behavior, StoreOp};

use super::{Node, World};
use crate::support::{ISSUED, ISSUER, end_of, lift, new_use, token_of};

/// The node that acts: this one, or another one.
#[derive(Clone, Copy, Debug)]
enum Who {
    Here,
    Elsewhere,
}

#[derive(Clone, Debug)]
enum Op {
    Revoke(Who, u8, u64),
    RevokeForEver(Who, u8),
    Rule(Who, u8, i64),
    LiftToken(Who, u8, u64),
    LiftRule(Who, u8),
    Use(Who, u8, u8),
    Release(Who, u8, u8),
    Poll,
    Page(usize),
    /// Reads a page and holds it until the next one is read.
    Hold,
    Break,
    Trim,
    SetBack(u8),
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![Just(Who::Here), Just(Who::Elsewhere)]
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..3_u8;
    prop_oneof![
        3 => (who(), key.clone(), 1_000..9_000_u64).prop_map(|(who, key, life)| Op::Revoke(who, key, life)),
        1 => (who(), key.clone()).prop_map(|(who, key)| Op::RevokeForEver(who, key)),
        2 => (who(), key.clone(), -40..40_i64).prop_map(|(who, key, at)| Op::Rule(who, key, at)),
        3 => (who(), key.clone(), 0..60_u64).prop_map(|(who, key, ahead)| Op::LiftToken(who, key, ahead)),
        1 => (who(), key.clone()).prop_map(|(who, key)| Op::LiftRule(who, key)),
        4 => (who(), key.clone(), 0..3_u8).prop_map(|(who, key, id)| Op::Use(who, key, id)),
        2 => (who(), key, 0..3_u8).prop_map(|(who, key, id)| Op::Release(who, key, id)),
        4 => Just(Op::Poll),
        1 => (1..4_usize).prop_map(Op::Page),
        2 => Just(Op::Hold),
        1 => Just(Op::Break),
        1 => Just(Op::Trim),
        1 => (1..4_u8).prop_map(Op::SetBack),
    ]
}

/// The token with this number. Each has its own subject, and two uses.
fn token(number: u8) -> VerifiedToken {
    token_of(serde_json::json!({
        "iss": ISSUER, "sub": number.to_string(), "jti": number.to_string(),
        "iat": ISSUED, "exp": ISSUED.as_secs() + 5_000,
    }))
}

fn subject(number: u8) -> RevocationKey {
    RevocationKey::subject(ISSUER, number.to_string())
}

struct Run {
    world: World,
    node: Node,
    held: bool,
}

impl Run {
    async fn act(&mut self, op: Op) {
        let (list, server) = (&self.node.list, &self.world.server);
        match op {
            Op::Revoke(who, key, life) => {
                let until = UnixTime::from_secs(ISSUED.as_secs() + life);
                self.revoke(who, key, end_of(&token(key)).retained(Some(until)))
                    .await;
            }
            Op::RevokeForEver(who, key) => {
                self.revoke(who, key, Revocation::of_token(token(key).id(), None))
                    .await;
            }
            Op::Rule(who, key, at) => {
                let at = UnixTime::from_secs(ISSUED.as_secs().saturating_add_signed(at));
                self.revoke(who, key, Revocation::rule(subject(key), at).unwrap())
                    .await;
            }
            Op::LiftToken(who, key, ahead) => {
                let mut lift = lift(token(key).id());
                lift = lift.at(UnixTime::from_secs(ISSUED.as_secs() + ahead));
                self.lift(who, key, lift).await;
            }
            Op::LiftRule(who, key) => self.lift(who, key, lift(subject(key))).await,
            Op::Use(who, key, id) => {
                let use_ = new_use(&token(key), id, 2);
                match who {
                    Who::Here => {
                        let outcome = list.take_use(use_).await.unwrap();
                        if outcome != (UseOutcome::Taken { left: 1 }) {
                            let seen = list.status(&token(key)).await.unwrap();
                            assert_ne!(seen, TokenStatus::Valid, "{outcome:?}");
                        }
                    }
                    Who::Elsewhere => drop(server.take_use(&use_, ISSUED).await.unwrap()),
                }
            }
            Op::Release(who, key, id) => {
                let use_ = new_use(&token(key), id, 2);
                let _ = match who {
                    Who::Here => list.return_use(use_).await.unwrap(),
                    Who::Elsewhere => server.return_use(&use_).await.unwrap(),
                };
            }
            Op::Poll => self.agrees().await,
            Op::Page(changes) => server.page(changes),
            Op::Hold if !self.held => {
                server.hold(true);
                server.holds(server.held() + 1).await;
                self.held = true;
            }
            Op::Hold => {
                // The held page is applied; the next one is read and held.
                let held = server.held();
                server.hold(false);
                server.hold(true);
                server.holds(held + 1).await;
            }
            Op::Break => {
                self.release_page();
                self.node.script.set(StoreOp::Changes, Behavior::Fails);
                self.node.polled().await;
                self.node.script.set(StoreOp::Changes, Behavior::Works);
            }
            Op::Trim => {
                // Reads everything first: a gap must not hide a lift that is to be written back
                // later.
                self.agrees().await;
                self.world.server.trim();
            }
            Op::SetBack(by) => {
                self.agrees().await;
                let server = &self.world.server;
                let history = server.history().saturating_sub(usize::from(by));
                let before = self.rejected().await;
                server.set_back(history, true).await;
                self.agrees().await;
                let after = self.rejected().await;
                for (number, (before, after)) in before.iter().zip(after).enumerate() {
                    assert!(!before || after, "token {number} was lost");
                }
            }
        }
    }

    async fn revoke(&self, who: Who, key: u8, revocation: Revocation) {
        match who {
            Who::Here => {
                let concerns = revocation
                    .issued_at_or_before()
                    .is_none_or(|at| token(key).issued_at_or_before(at));
                self.node.list.revoke(revocation).await.unwrap();
                let seen = self.node.list.status(&token(key)).await.unwrap();
                assert!(!concerns || seen == TokenStatus::Revoked, "{seen:?}");
            }
            Who::Elsewhere => self.world.server.revoke(&[revocation]).await.unwrap(),
        }
    }

    async fn lift(&self, who: Who, key: u8, lift: Lift) {
        match who {
            Who::Here => {
                self.node.list.lift(lift).await.unwrap();
                let seen = self.node.list.known_status(&token(key));
                assert_ne!(seen, Some(TokenStatus::Valid), "not looked up");
            }
            Who::Elsewhere => drop(self.world.server.lift(&lift).await.unwrap()),
        }
    }

    fn release_page(&mut self) {
        self.world.server.hold(false);
        self.held = false;
    }

    /// Returns the store's own answer.
    async fn truth(&self, number: u8) -> TokenStatus {
        let (store, _) = tower_revoke_testing::ScriptedStore::over(self.world.server.clone());
        let list = tower_revoke_list::RevocationList::builder(store)
            .mirror_capacity(0)
            .clock(self.world.clock.clone())
            .build()
            .unwrap();
        list.status(&token(number)).await.unwrap()
    }

    async fn rejected(&self) -> Vec<bool> {
        let mut rejected = vec![];
        for number in 0..3 {
            rejected.push(self.truth(number).await != TokenStatus::Valid);
        }
        rejected
    }

    /// Checks the agreement once everything was read.
    async fn agrees(&mut self) {
        self.release_page();
        self.world.server.page(usize::MAX);
        for _ in 0..4 {
            self.node.polled().await;
        }
        self.node.becomes(MirrorState::Live).await;
        for number in 0..3 {
            let truth = self.truth(number).await;
            let fresh = self.node.list.known_status(&token(number));
            assert_eq!(fresh, Some(truth), "token {number}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_mirror_agrees_with_the_store(ops in prop::collection::vec(op(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let world = World::new();
            let node = world.ready_node().await;
            let mut run = Run { world, node, held: false };
            for op in ops {
                run.act(op).await;
            }
            run.agrees().await;
        });
    }
}
