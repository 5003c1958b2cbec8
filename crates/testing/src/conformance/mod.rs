//! The store suite: what every `Store` owes those who rely on it, clause by clause.
//!
//! [`store_conformance!`](crate::store_conformance) makes one test of each clause, so that a
//! failure names the promise that was broken. What the suite has to know of a store stands in one
//! trait, [`Fixture`]: how to get at an empty one, how to open a second handle to the same data, and
//! how to harm it.
//!
//! ```
//! use tower_revoke_core::Clock;
//! use tower_revoke_list::MemoryStore;
//! use tower_revoke_testing::{
//!     conformance::{Ability, Fixture},
//!     store_conformance,
//! };
//!
//! struct Memory(MemoryStore);
//!
//! impl Fixture for Memory {
//!     type Store = MemoryStore;
//!
//!     // What a store can't do is said outright, and why: no clause is skipped in silence.
//!     const LACKS: &'static [(Ability, &'static str)] = &[
//!         (Ability::Restart, "it ends with its process"),
//!         (Ability::Outage, "there is no server"),
//!         (Ability::Freeze, "there is no server"),
//!         (Ability::Push, "it lives in one process, where nobody has to wait"),
//!         (Ability::SetBack, "there is no backup"),
//!         (Ability::Trim, "it keeps the last 65,536 changes"),
//!     ];
//!
//!     async fn empty(clock: Clock) -> Self {
//!         Self(MemoryStore::with_clock(clock))
//!     }
//!
//!     async fn open(&self) -> MemoryStore {
//!         self.0.clone()
//!     }
//! }
//!
//! store_conformance!(Memory);
//!
//! // Each clause is a function as well.
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! tower_revoke_testing::conformance::a_rule_is_never_shortened::<Memory>().await;
//! # }
//! ```
//!
//! A store with a server starts it once (in a `static`), and gives each ground a name space of its
//! own in it; the clauses that harm the server ask for one that is theirs alone
//! ([`Fixture::alone`]). The functions panic where the store breaks its promise, with words that
//! say how.

mod feed;
mod follower;
mod hostile;
mod lift;
mod list;
mod model;
mod outage;
mod purge;
mod records;
mod restore;
mod revoke;
mod uses;
mod wake;
mod world;

use std::time::Duration;

use tower_revoke_core::{BoxFuture, Clock, Store};

pub use self::{
    feed::*, hostile::*, lift::*, model::*, outage::*, purge::*, records::*, restore::*, revoke::*,
    uses::*, wake::*,
};

/// A place where the suite can drive one kind of store.
///
/// An instance is the data of one store: every [`Store`] that it opens works on the same, and none is
/// asked once it is dropped. Where anything of its own fails it may panic.
pub trait Fixture: Sized + Send + Sync + 'static {
    /// The store.
    type Store: Store;

    /// What this store, or this ground, can't do, and why. What is not named here is asked of it.
    const LACKS: &'static [(Ability, &'static str)] = &[];

    /// By when every call must have been answered, also while the store is down; a good deal
    /// longer than the store's own bound.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Data of its own, with nothing in it. Its stores go by `clock`, which starts at the
    /// machine's time and then stands still until a clause moves it.
    fn empty(clock: Clock) -> impl Future<Output = Self> + Send;

    /// As [`empty`](Self::empty), on a server that nobody else uses, since [`harm`](Self::harm)
    /// will come to it.
    fn alone(clock: Clock) -> impl Future<Output = Self> + Send {
        Self::empty(clock)
    }

    /// One more handle to the same data: what another node would open, or this one after a restart
    /// of its own.
    fn open(&self) -> impl Future<Output = Self::Store> + Send;

    /// Does harm to the store; returns when it is done.
    fn harm(&self, harm: Fault) -> impl Future<Output = ()> + Send {
        async move { panic!("the ground doesn't know {harm:?}: name its ability in LACKS") }
    }
}

/// What is asked of a store unless its [`Fixture::LACKS`] names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ability {
    /// The store goes by the [`Clock`] that the ground was given.
    Clock,
    /// [`Store::feed`] gives the port for those who follow. Without: `None`, and nothing is
    /// restored.
    Feed,
    /// [`ChangeFeed::changed`](tower_revoke_core::ChangeFeed::changed) wakes who waits. Without, it never resolves.
    Push,
    /// [`Store::records`] gives the port for operators. Without: `None`.
    Records,
    /// [`Store::purge`] forgets what has ended by itself. Without, the server sees to it.
    Purge,
    /// [`Fault::Restart`].
    Restart,
    /// [`Fault::Stop`] and [`Fault::Start`].
    Outage,
    /// [`Fault::Freeze`] and [`Fault::Thaw`].
    Freeze,
    /// [`Fault::Trim`].
    Trim,
    /// [`Fault::Backup`] and [`Fault::PlayBack`].
    SetBack,
}

/// What may happen to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// What keeps the data ends without notice and begins again: the server, or for an embedded
    /// store its process, as far as a test can play that. All handles were dropped before.
    Restart,
    /// The server is gone. Handles stay open.
    Stop,
    /// It is back, with its data.
    Start,
    /// The server takes connections and requests and answers none, as after a SIGSTOP.
    Freeze,
    /// It goes on.
    Thaw,
    /// The feed forgets all changes up to now; the data stay.
    Trim,
    /// A copy of the data is put aside, with its feed. All handles were dropped before.
    Backup,
    /// The copy takes the place of the data, as after a fail-over that lost writes. All handles were
    /// dropped before.
    PlayBack,
}

/// One promise of the contract, and the check that it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Clause {
    /// Its name, which is its function's.
    pub name: &'static str,
    check: fn() -> BoxFuture<'static, ()>,
}

impl Clause {
    /// Checks it on new ground.
    ///
    /// # Panics
    /// If the store breaks it.
    pub async fn check(&self) {
        (self.check)().await;
    }
}

/// All clauses, for those who want to run them in another way than by
/// [`store_conformance!`](crate::store_conformance).
pub fn clauses<G: Fixture>() -> Vec<Clause> {
    crate::__store_clauses!(list G)
}

/// Runs a clause on a runtime of its own, with several threads.
#[doc(hidden)]
pub fn run(clause: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("the machine lets the test have a runtime");
    runtime.block_on(clause);
}
