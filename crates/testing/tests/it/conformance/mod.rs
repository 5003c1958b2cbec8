//! A store for each way to violate the contract, with the clauses that must fail. A flaw that
//! violates several promises fails the clauses of all of them, and no others.

/// Defines the flaws, and a test for each that exactly these clauses fail.
macro_rules! catches {
    ($($flaw:ident: $($clause:ident)+,)*) => {
        /// The flaw of a store.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Flaw {
            None,
            $($flaw,)*
        }

        pub(crate) const CAUGHT: &[(Flaw, &[&str])] = &[
            $((Flaw::$flaw, &[$(stringify!($clause)),+]),)*
        ];

        #[allow(non_snake_case, reason = "named as the flaw is")]
        mod caught {
            use super::Flaw;

            $(
                #[test]
                fn $flaw() {
                    let expected = [$(stringify!($clause)),+];
                    let broken = $crate::conformance::broken_by(Flaw::$flaw);
                    assert_eq!(broken, expected.into(), "{:?}", Flaw::$flaw);
                }
            )*
        }
    };
}

mod flawed;
mod flaws;
mod issued;
mod server;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use flawed::{Flawed, Notes};
use flaws::Flaw;
use server::Server;
use tower_revoke_core::{Clock, Lift, RevocationKey, Store};
use tower_revoke_testing::{
    conformance::{Clause, Fault, Fixture, clauses},
    store_conformance,
};

tokio::task_local! {
    /// The flaw of the stores in new fixtures.
    static FLAW: Flaw;
}

/// A fixture with every ability.
struct Simulated {
    server: Arc<Server>,
    notes: Arc<Notes>,
    flaw: Flaw,
    clock: Clock,
    opened: AtomicU64,
}

impl Fixture for Simulated {
    type Store = Flawed;

    const PATIENCE: Duration = Duration::from_secs(2);

    async fn empty(clock: Clock) -> Self {
        Self {
            server: Server::new(),
            notes: Arc::default(),
            flaw: FLAW.try_get().unwrap_or(Flaw::None),
            clock,
            opened: AtomicU64::new(1),
        }
    }

    async fn open(&self) -> Flawed {
        Flawed {
            sound: server::Handle(Arc::clone(&self.server)),
            server: Arc::clone(&self.server),
            notes: Arc::clone(&self.notes),
            flaw: self.flaw,
            clock: self.clock.clone(),
            number: self.opened.fetch_add(1, Ordering::SeqCst),
            seen_free: Mutex::default(),
        }
    }

    async fn inject(&self, fault: Fault) {
        self.server.inject(fault).await;
        match fault {
            Fault::Restart => *self.notes.boot.lock().unwrap() += 1,
            Fault::Stop => *self.notes.was_down.lock().unwrap() = true,
            Fault::PlayBack => *self.notes.grown.lock().unwrap() = 0,
            _ => {}
        }
        if fault == Fault::Restart && self.flaw == Flaw::ForgetsOneOnRestart {
            let lift = Lift::new(RevocationKey::subject("https://id.example.com", "1"));
            self.server.store().lift(&lift).await.unwrap();
        }
    }
}

mod without_a_flaw {
    use super::*;

    store_conformance!(Simulated);
}

/// The clause with random operations. It catches most flaws most of the time, and has a test of its
/// own.
const BY_CHANCE: &str = "random_operations_match_the_model";

/// Returns the names of the clauses that a store with this flaw violates.
fn broken_by(flaw: Flaw) -> BTreeSet<&'static str> {
    let all = clauses::<Simulated>().into_iter();
    all.filter(|clause| clause.name != BY_CHANCE && breaks(flaw, *clause))
        .map(|clause| clause.name)
        .collect()
}

fn breaks(flaw: Flaw, clause: Clause) -> bool {
    // Paused time: no machine is too slow for the timeouts, and no test waits for real time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let check = FLAW.scope(flaw, async move { clause.check().await });
    runtime
        .block_on(async { tokio::spawn(check).await })
        .is_err()
}

#[test]
fn the_model_notices_flaws_by_chance() {
    let mut all = clauses::<Simulated>().into_iter();
    let by_chance = all.find(|clause| clause.name == BY_CHANCE).unwrap();
    for flaw in [
        Flaw::RestoresLiftedRevocations,
        Flaw::RestoresLiftsWithoutTheirTime,
        Flaw::LiftsWinTies,
        Flaw::IgnoresAnotherLimit,
        Flaw::IgnoresReturns,
        Flaw::OmitsReturnedUses,
    ] {
        // One run nearly always suffices.
        let is_noticed = (0..10).any(|_| breaks(flaw, by_chance));
        assert!(is_noticed, "{flaw:?}");
    }
}

#[test]
fn every_clause_catches_a_flaw() {
    let first = |(_, caught): &(Flaw, &[&'static str])| caught[0];
    let caught: BTreeSet<_> = flaws::CAUGHT.iter().map(first).collect();
    for clause in clauses::<Simulated>() {
        let is_caught = caught.contains(clause.name) || clause.name == BY_CHANCE;
        assert!(is_caught, "{}", clause.name);
    }
}
