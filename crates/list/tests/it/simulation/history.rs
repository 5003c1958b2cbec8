//! One simulated history: the calls, the faults and the checks.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    ops::AddAssign,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde_json::json;
use tokio::{
    task::LocalSet,
    time::{Instant, sleep, timeout},
};
use tower_revoke_core::{
    Clock, Lift, ManualClock, Revocation, RevocationKey, TokenStatus, Use, UseId, UseOutcome,
    VerifiedToken,
};
use tower_revoke_list::{MemoryStore, MirrorState, RevocationList};

use super::{
    MAX_STALENESS,
    wire::{self, Health, Way, Wire, chance},
};
use crate::{
    support::server::Server,
    support::{ISSUED, ISSUER, token_of},
};

const NODES: usize = 5;
const TOKENS: usize = 6;
const LASTS: Duration = Duration::from_secs(12);
const TICK: Duration = Duration::from_millis(20);

/// The configuration of the nodes.
#[derive(Clone)]
pub struct Plan {
    pub max_staleness: Duration,
    pub mirror_capacity: u64,
    pub pushes: bool,
    pub counts_alone: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            max_staleness: MAX_STALENESS,
            mirror_capacity: 1_000,
            pushes: false,
            counts_alone: false,
        }
    }
}

/// Counts of what happened in histories, so that a test can check its coverage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    pub good: u64,
    pub rejected: u64,
    pub failed: u64,
    pub late_but_allowed: u64,
    pub won: u64,
    pub spent: u64,
    pub from_a_mirror: u64,
}

impl Told {
    /// Asserts that every kind of event has happened.
    pub fn is_worth_something(&self) {
        for count in [
            self.good,
            self.rejected,
            self.failed,
            self.late_but_allowed,
            self.won,
            self.spent,
        ] {
            assert!(count > 100, "{self:?}");
        }
    }
}

impl AddAssign for Told {
    fn add_assign(&mut self, other: Self) {
        self.good += other.good;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.late_but_allowed += other.late_but_allowed;
        self.won += other.won;
        self.spent += other.spent;
        self.from_a_mirror += other.from_a_mirror;
    }
}

/// A node that may be restarted, without its memory.
struct Node {
    wire: Wire,
    clock: Clock,
    hand: ManualClock,
    list: RefCell<RevocationList>,
}

/// The certain knowledge about a key: since when all of its tokens must be rejected.
#[derive(Clone, Copy, Default)]
struct Certain {
    revoked: Option<Instant>,
    /// The number of lifts begun so far.
    lifts: u64,
    /// The number of lifts that may still take effect.
    under_way: u64,
}

pub struct History {
    seed: u64,
    plan: Plan,
    nodes: Vec<Node>,
    health: Arc<Health>,
    tokens: Vec<VerifiedToken>,
    certain: RefCell<HashMap<RevocationKey, Certain>>,
    held: RefCell<HashMap<usize, HashSet<UseId>>>,
    told: Cell<Told>,
}

impl History {
    pub fn new(seed: u64, plan: Plan) -> Self {
        wire::seed(seed);
        let server = Server::new();
        server.page(chance(|rng| rng.usize(1..5)));
        if plan.pushes {
            server.push();
        }
        let health = Arc::new(Health::default());
        let node = |_| {
            let (clock, hand) = Clock::manual(ISSUED);
            let wire = Wire {
                server: server.clone(),
                way: Arc::new(Way::default()),
                health: health.clone(),
                alone: plan.counts_alone.then(MemoryStore::new),
            };
            Node {
                list: RefCell::new(list(&plan, &wire, &clock)),
                wire,
                clock,
                hand,
            }
        };
        let token = |number: usize| {
            let subject = ["ann", "bob"][number % 2];
            token_of(json!({
                "iss": ISSUER, "sub": subject, "jti": number.to_string(),
                "iat": ISSUED, "exp": ISSUED.as_secs() + 3_600,
            }))
        };
        Self {
            seed,
            nodes: (0..NODES).map(node).collect(),
            plan,
            health,
            tokens: (0..TOKENS).map(token).collect(),
            certain: RefCell::default(),
            held: RefCell::default(),
            told: Cell::default(),
        }
    }

    /// Runs the history in its own paused time.
    pub fn run(self) -> Told {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async {
            let history = Rc::new(self);
            let ends = Instant::now() + LASTS;
            let clocks = tokio::task::spawn_local(history.clone().clocks());
            let mut actors = tokio::task::JoinSet::new();
            actors.spawn_local(history.clone().trouble(ends));
            for _ in 0..4 {
                actors.spawn_local(history.clone().revoke_and_lift(ends));
                actors.spawn_local(history.clone().take_and_return(ends));
                actors.spawn_local(history.clone().status(ends));
            }
            while let Some(ended) = actors.join_next().await {
                if let Err(error) = ended {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
            history.settles().await;
            clocks.abort();
            history.told.get()
        })
    }

    /// Advances the nodes' clocks with tokio's time.
    async fn clocks(self: Rc<Self>) {
        loop {
            sleep(TICK).await;
            self.nodes.iter().for_each(|node| node.hand.advance(TICK));
        }
    }

    /// Injects one fault after another, and repairs each.
    async fn trouble(self: Rc<Self>, ends: Instant) {
        while Instant::now() < ends {
            let node = self.node();
            let while_it_lasts = Duration::from_millis(chance(|rng| rng.u64(50..4_000)));
            match chance(|rng| rng.u8(0..6)) {
                0 => {
                    node.wire.way.cut.store(true, Ordering::SeqCst);
                    sleep(while_it_lasts).await;
                    node.wire.way.cut.store(false, Ordering::SeqCst);
                }
                1 => {
                    self.health.rejects.store(true, Ordering::SeqCst);
                    sleep(while_it_lasts).await;
                    self.health.rejects.store(false, Ordering::SeqCst);
                }
                2 => {
                    self.health.frozen.store(true, Ordering::SeqCst);
                    sleep(while_it_lasts).await;
                    self.health.frozen.store(false, Ordering::SeqCst);
                }
                3 => {
                    let fresh = list(&self.plan, &node.wire, &node.clock);
                    node.list.replace(fresh);
                }
                4 => node.hand.step_wall(chance(|rng| rng.i64(-7_200..7_200))),
                _ => {
                    node.wire.server.trim();
                    let list = node.list.borrow().clone();
                    // A purge has no timeout of its own, and its answer may be lost.
                    let _ = timeout(MAX_STALENESS, list.purge()).await;
                }
            }
            sleep(Duration::from_millis(chance(|rng| rng.u64(0..300)))).await;
        }
    }

    async fn revoke_and_lift(self: Rc<Self>, ends: Instant) {
        while Instant::now() < ends {
            sleep(Duration::from_millis(chance(|rng| rng.u64(0..2_000)))).await;
            let list = self.node().list.borrow().clone();
            let token = self.token();
            let subject = token.claims().subject().unwrap_or_default().to_owned();
            let (key, revocation) = match chance(|rng| rng.u8(0..8)) {
                0 => {
                    let key = RevocationKey::subject(ISSUER, subject);
                    (key.clone(), Revocation::rule(key, ISSUED).unwrap())
                }
                _ => {
                    let revocation = Revocation::of_token(token.id(), token.claims().expires_at());
                    (token.id().into(), revocation)
                }
            };
            let before = self.certain(&key);
            if list.revoke(revocation).await.is_ok() {
                let mut all = self.certain.borrow_mut();
                let certain = all.entry(key.clone()).or_default();
                // A lift that was under way at any time meanwhile may have taken effect later.
                if certain.lifts == before.lifts && before.under_way == 0 {
                    certain.revoked.get_or_insert(Instant::now());
                }
            }
            if chance(|rng| rng.bool()) {
                sleep(Duration::from_millis(chance(|rng| rng.u64(0..3_000)))).await;
                let lift = Lift::new(key.clone())
                    .at(ISSUED)
                    .by("ann")
                    .because("found again");
                {
                    let mut all = self.certain.borrow_mut();
                    let certain = all.entry(key.clone()).or_default();
                    certain.revoked = None;
                    certain.lifts += 1;
                    certain.under_way += 1;
                }
                if list.lift(lift).await.is_err() {
                    // The lift may still take effect, and undo a later revocation.
                    sleep(wire::LONGEST).await;
                }
                let mut all = self.certain.borrow_mut();
                all.entry(key).or_default().under_way -= 1;
            }
        }
    }

    async fn status(self: Rc<Self>, ends: Instant) {
        while Instant::now() < ends {
            sleep(Duration::from_millis(chance(|rng| rng.u64(0..60)))).await;
            let list = self.node().list.borrow().clone();
            let token = self.token();
            let begun = Instant::now();
            let revoked = self.revoked_since(token);
            let status = match list.known_status(token) {
                Some(status) => Ok(status),
                None => list.status(token).await,
            };
            let mut told = self.told.get();
            if list.stats().mirror == MirrorState::Live {
                told.from_a_mirror += 1;
            }
            match status {
                Ok(TokenStatus::Valid) => {
                    told.good += 1;
                    // Certain before the call, and still certain after it.
                    let still = revoked.filter(|since| self.revoked_since(token) == Some(*since));
                    if let Some(since) = still {
                        let age = begun.saturating_duration_since(since);
                        assert!(
                            age <= MAX_STALENESS + 2 * TICK,
                            "seed {}: valid {age:?} after it was revoked",
                            self.seed
                        );
                        told.late_but_allowed += 1;
                    }
                }
                Ok(_) => told.rejected += 1,
                Err(_) => told.failed += 1,
            }
            self.told.set(told);
        }
    }

    async fn take_and_return(self: Rc<Self>, ends: Instant) {
        while Instant::now() < ends {
            sleep(Duration::from_millis(chance(|rng| rng.u64(0..300)))).await;
            let number = chance(|rng| rng.usize(0..TOKENS));
            let limit = u32::try_from(number % 3 + 1).unwrap();
            let token = &self.tokens[number];
            let use_ = Use::new(
                token.id(),
                UseId::from_bytes(chance(|rng| rng.u128(..)).to_le_bytes()),
                NonZeroU32::new(limit).unwrap(),
                token.claims().expires_at(),
            );
            // Retries an ambiguous use under the same id, sometimes through another node.
            for _ in 0..3 {
                let list = self.node().list.borrow().clone();
                match list.take_use(use_).await {
                    Ok(UseOutcome::Taken { .. }) => {
                        self.wins(number, limit, use_.id);
                        break;
                    }
                    Ok(UseOutcome::Spent) => {
                        self.tell(|told| told.spent += 1);
                        break;
                    }
                    Err(_) => {}
                }
            }
            if chance(|rng| rng.u8(0..4) > 0) {
                sleep(Duration::from_millis(chance(|rng| rng.u64(0..500)))).await;
                self.held
                    .borrow_mut()
                    .entry(number)
                    .or_default()
                    .remove(&use_.id);
                let list = self.node().list.borrow().clone();
                let _ = list.return_use(use_).await;
            }
        }
    }

    fn wins(&self, number: usize, limit: u32, id: UseId) {
        self.tell(|told| told.won += 1);
        let mut held = self.held.borrow_mut();
        let held = held.entry(number).or_default();
        held.insert(id);
        assert!(
            held.len() <= limit as usize,
            "seed {}: {} winners for the {limit} uses of a token",
            self.seed,
            held.len()
        );
    }

    /// Checks that all nodes agree with the store once all faults are repaired.
    async fn settles(&self) {
        sleep(4 * MAX_STALENESS).await;
        for token in &self.tokens {
            let Some(_) = self.revoked_since(token) else {
                continue;
            };
            for node in &self.nodes {
                let list = node.list.borrow().clone();
                let mut status = list.status(token).await;
                while status.is_err() {
                    // An answer may still be lost.
                    status = list.status(token).await;
                }
                assert_ne!(status.unwrap(), TokenStatus::Valid, "seed {}", self.seed);
            }
        }
    }

    fn node(&self) -> &Node {
        &self.nodes[chance(|rng| rng.usize(0..NODES))]
    }

    fn token(&self) -> &VerifiedToken {
        &self.tokens[chance(|rng| rng.usize(0..TOKENS))]
    }

    fn certain(&self, key: &RevocationKey) -> Certain {
        self.certain.borrow().get(key).copied().unwrap_or_default()
    }

    /// Returns since when the token is certainly revoked, by whichever key was first.
    fn revoked_since(&self, token: &VerifiedToken) -> Option<Instant> {
        let subject = token.claims().subject().unwrap_or_default();
        let keys = [
            RevocationKey::Token(token.id()),
            RevocationKey::subject(ISSUER, subject),
        ];
        keys.iter()
            .filter_map(|key| self.certain(key).revoked)
            .min()
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        let mut told = self.told.get();
        change(&mut told);
        self.told.set(told);
    }
}

fn list(plan: &Plan, wire: &Wire, clock: &Clock) -> RevocationList {
    RevocationList::builder(wire.clone())
        .clock(clock.clone())
        .max_staleness(plan.max_staleness)
        .store_timeout(Duration::from_millis(400))
        .mirror_capacity(plan.mirror_capacity)
        .build()
        .unwrap()
}
