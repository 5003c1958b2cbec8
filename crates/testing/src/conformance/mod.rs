//! The conformance suite for stores: one clause for each guarantee of the `Store` contract.
//!
//! [`store_conformance!`](crate::store_conformance) makes a test of each clause, so that a failing
//! test names the guarantee that the store violates. A store takes part by implementing one trait,
//! [`Fixture`]: it creates an empty store, opens further handles to the same data, and injects
//! faults.
//!
//! # Examples
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
//!     // Each ability that the store lacks is listed with the reason; only these are not tested.
//!     const LACKS: &'static [(Ability, &'static str)] = &[
//!         (Ability::Restart, "it ends with its process"),
//!         (Ability::Outage, "there is no server"),
//!         (Ability::Freeze, "there is no server"),
//!         (Ability::Push, "it lives in one process, where nobody has to wait"),
//!         (Ability::SetBack, "there is no backup"),
//!         (Ability::Trim, "it keeps the last 65,536 changes"),
//!     ];
//!
//!     async fn empty(_: Clock) -> Self {
//!         Self(MemoryStore::new())
//!     }
//!
//!     async fn open(&self) -> MemoryStore {
//!         self.0.clone()
//!     }
//! }
//!
//! store_conformance!(Memory);
//!
//! // Each clause is also a function.
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! tower_revoke_testing::conformance::a_rule_is_never_shortened::<Memory>().await;
//! # }
//! ```
//!
//! # Stores with a server
//! Start the server once, in a `static`, and give each fixture a database, schema or key prefix of
//! its own. Clauses that inject faults need a server of their own, which [`Fixture::alone`] starts.
//!
//! # Panics
//! Each clause panics if the store violates it. The message says how.

mod feed;
mod follower;
mod hostile;
mod issued;
mod kind;
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
    feed::*, hostile::*, issued::*, kind::*, lift::*, model::*, outage::*, purge::*, records::*,
    restore::*, revoke::*, uses::*, wake::*,
};

/// A store under test, with the means to open it and to inject faults.
///
/// One instance holds the data of one store: every [`Store`] that it opens works on the same data.
/// The suite uses none of these stores after it has dropped the instance. Methods panic if the
/// setup itself fails.
pub trait Fixture: Sized + Send + Sync + 'static {
    /// The type of the store.
    type Store: Store;

    /// The abilities that this store or its setup lacks, each with the reason. All others are
    /// tested.
    const LACKS: &'static [(Ability, &'static str)] = &[];

    /// The time limit for each call, which also holds while the server is down.
    ///
    /// Must be well above the store's own timeout. Defaults to 30 s.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Creates an empty store whose data no other fixture shares.
    ///
    /// Its handles read the time from `clock`, which starts at the system time and only advances
    /// when a clause moves it.
    fn empty(clock: Clock) -> impl Future<Output = Self> + Send;

    /// Creates an empty store like [`empty`](Self::empty), on a server that no other fixture uses.
    ///
    /// Clauses that call [`inject`](Self::inject) use it, since stopping a shared server would break
    /// the tests that run at the same time. Defaults to [`empty`](Self::empty).
    fn alone(clock: Clock) -> impl Future<Output = Self> + Send {
        Self::empty(clock)
    }

    /// Opens another handle to the same data, as another node would, or this one after a restart.
    fn open(&self) -> impl Future<Output = Self::Store> + Send;

    /// Injects a fault, and returns once it is in effect.
    ///
    /// # Panics
    /// The default panics: a fixture that implements no faults lists their abilities in
    /// [`LACKS`](Self::LACKS).
    fn inject(&self, fault: Fault) -> impl Future<Output = ()> + Send {
        async move { panic!("the fixture doesn't inject {fault:?}: list its ability in LACKS") }
    }
}

/// An ability that the suite tests unless [`Fixture::LACKS`] lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ability {
    /// [`Store::feed`] returns a feed. A store that lacks this returns `None`, and clauses of
    /// `restore` are not tested.
    Feed,
    /// [`ChangeFeed::changed`](tower_revoke_core::ChangeFeed::changed) resolves after a change. In
    /// a store that lacks this it never resolves.
    Push,
    /// [`Store::records`] returns the records. A store that lacks this returns `None`.
    Records,
    /// [`Store::issued_tokens`] returns the issued tokens. A store that lacks this returns `None`.
    IssuedTokens,
    /// [`Store::purge`] removes expired entries. In a store that lacks this, the server expires
    /// them.
    Purge,
    /// The fixture implements [`Fault::Restart`].
    Restart,
    /// The fixture implements [`Fault::Stop`] and [`Fault::Start`].
    Outage,
    /// The fixture implements [`Fault::Freeze`] and [`Fault::Thaw`].
    Freeze,
    /// The fixture implements [`Fault::Trim`].
    Trim,
    /// The fixture implements [`Fault::Backup`] and [`Fault::PlayBack`].
    SetBack,
}

/// A fault that a clause injects by [`Fixture::inject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Kills the server without a clean shutdown and starts it again.
    ///
    /// An embedded store has no server: its fixture simulates a crash of the process, as far as a
    /// test can. The suite has dropped all handles before.
    Restart,
    /// Stops the server. Handles stay open.
    Stop,
    /// Starts the stopped server again, with its data.
    Start,
    /// Freezes the server: it accepts connections and requests and answers none, as after
    /// `SIGSTOP`.
    Freeze,
    /// Lets the frozen server continue, as by `SIGCONT`.
    Thaw,
    /// Trims all changes so far from the feed. Revocations and uses stay.
    Trim,
    /// Takes a backup of the data and its feed. The suite has dropped all handles before.
    Backup,
    /// Restores the backup, as after a fail-over that lost writes. The suite has dropped all
    /// handles before.
    PlayBack,
}

/// One guarantee of the contract, and the check for it.
#[derive(Clone, Copy, Debug)]
pub struct Clause {
    /// The name of the clause, which is also the name of its function.
    pub name: &'static str,
    check: fn() -> BoxFuture<'static, ()>,
}

impl Clause {
    /// Checks the clause with a new fixture.
    ///
    /// # Panics
    /// If the store violates the clause.
    pub async fn check(&self) {
        (self.check)().await;
    }
}

/// Returns all clauses, for a test runner other than
/// [`store_conformance!`](crate::store_conformance).
pub fn clauses<G: Fixture>() -> Vec<Clause> {
    crate::__store_clauses!(list G)
}

/// Runs a clause on its own multi-threaded runtime.
#[doc(hidden)]
pub fn run(clause: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("the machine lets the test have a runtime");
    runtime.block_on(clause);
}
