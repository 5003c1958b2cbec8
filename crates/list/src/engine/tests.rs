//! Tests of the engine with the real moka under the shuttle scheduler.
//!
//! The exploration covers every order of the steps between the await points of the scripted store,
//! of the engine, and of moka's lock per key. It covers neither what moka, the executor and the
//! atomics do between two await points, which runs as one step on one thread, nor weak memory.
//! `tests/it/under_load.rs` races real threads over those.

mod known_bad;
mod mirrored;
mod scheduled;

use std::{
    any::Any,
    num::NonZeroU32,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use shuttle::{
    Config, Runner,
    future::{block_on, spawn, yield_now},
    scheduler::{DfsScheduler, RandomScheduler},
};
use tower_revoke_core::{
    BoxFuture, Change, ChangeFeed, Changes, Claims, Clock, Cursor, KeyDigest, Lift, Listed,
    Revocation, RevocationKey, Revocations, Store, StoreError, TokenId, TokenStatus, UnixTime, Use,
    UseId, UseOutcome, VerifiedToken,
};

use super::{AnyEngine, Engine, MirrorSettings};
use crate::{MemoryStore, mirror::Phase, status::status_of, timer::Timer};

const ISSUER: &str = "https://id.example.com";

fn token() -> VerifiedToken {
    let claims = json!({"iss": ISSUER, "sub": "ann", "iat": 1_000});
    let claims = Claims::from_value(claims).expect("claims");
    VerifiedToken::new(TokenId::of_jwt(ISSUER, "1"), claims, Duration::ZERO)
}

/// The only use of the token.
fn new_use() -> Use {
    Use::new(
        token().id(),
        UseId::from_bytes([1; 16]),
        NonZeroU32::MIN,
        None,
    )
}

fn lift() -> Lift {
    Lift::new(token().id())
        .at(UnixTime::from_secs(1))
        .by("ann")
        .because("found again")
}

/// A store that yields before and after each call.
struct Yielding(MemoryStore);

async fn yielding<T>(call: impl Future<Output = T>) -> T {
    yield_now().await;
    let result = call.await;
    yield_now().await;
    result
}

impl Store for Yielding {
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        yielding(self.0.revoke(revocations)).await
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        yielding(self.0.lift(lift)).await
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        yielding(self.0.look_up(keys)).await
    }

    async fn take_use(&self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        yielding(self.0.take_use(use_, now)).await
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        yielding(self.0.return_use(use_)).await
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        self.0.purge(before).await
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        Some(self)
    }
}

impl ChangeFeed for Yielding {
    fn changes<'a>(
        &'a self,
        since: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move { yielding(self.0.changes(since)).await })
    }

    fn restore<'a>(&'a self, known: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.0.restore(known).await })
    }
}

/// A timer without a timeout, since there is no time under the scheduler.
struct Untimed;

impl Timer for Untimed {
    async fn within<F>(&self, call: F) -> Result<F::Output, StoreError>
    where
        F: Future<Output: Send> + Send,
    {
        Ok(call.await)
    }

    async fn pause<F>(&self, _: Duration, _: F)
    where
        F: Future<Output = ()> + Send,
    {
        yield_now().await;
    }
}

fn engine(max_staleness: Duration) -> Arc<Engine<Yielding, Untimed>> {
    let (clock, _) = Clock::manual(UnixTime::from_secs(2_000));
    let store = MemoryStore::new();
    Arc::new(Engine::new(
        Yielding(store),
        Untimed,
        clock,
        max_staleness,
        100,
        MirrorSettings {
            capacity: 1_000,
            snapshot: None,
        },
        None,
    ))
}

/// The subject of the exploration: the engine, or a cache that is known to be wrong.
trait Subject: Send + Sync + 'static {
    /// Returns whether the token is valid.
    fn status(&self) -> impl Future<Output = bool> + Send;

    /// Returns whether the token is known to be valid without waiting.
    fn known_good(&self) -> bool;

    fn revoke(&self) -> impl Future<Output = ()> + Send;
}

struct OurEngine {
    engine: Arc<Engine<Yielding, Untimed>>,
    token: VerifiedToken,
    end: End,
}

/// The ways to end a token.
#[derive(Clone, Copy)]
enum End {
    Token,
    Rule,
    Use,
}

impl OurEngine {
    fn new(end: End) -> Self {
        Self {
            engine: engine(Duration::from_secs(5)),
            token: token(),
            end,
        }
    }

    async fn end(&self, end: End) {
        let revocation = match end {
            End::Token => Revocation::of_token(self.token.id(), None),
            End::Rule => {
                let subject = RevocationKey::subject(ISSUER, "ann");
                Revocation::rule(subject, UnixTime::from_secs(1_000)).expect("a rule")
            }
            End::Use => {
                self.engine
                    .clone()
                    .take_use(new_use())
                    .await
                    .expect("taken");
                return;
            }
        };
        self.engine
            .clone()
            .revoke(revocation)
            .await
            .expect("revoked");
    }
}

impl Subject for OurEngine {
    async fn status(&self) -> bool {
        self.engine.status(&self.token).await.expect("an answer") == TokenStatus::Valid
    }

    fn known_good(&self) -> bool {
        self.engine.known_status(&self.token).is_some()
    }

    async fn revoke(&self) {
        self.end(self.end).await;
    }
}

/// Runs two readers, each with a number of checks, and one revoker. Once the revocation has
/// returned, no check that begins may find the token valid.
fn two_readers_and_a_revoker<S: Subject>(subject: S, checks: usize) {
    let subject = Arc::new(subject);
    let revoked = Arc::new(AtomicBool::new(false));
    let at_work = Arc::new(AtomicUsize::new(3));
    for _ in 0..2 {
        let (subject, revoked, at_work) = (subject.clone(), revoked.clone(), at_work.clone());
        spawn(async move {
            for _ in 0..checks {
                let was_revoked = revoked.load(Ordering::SeqCst);
                let good = subject.status().await;
                assert!(!(was_revoked && good), "a stale answer was checked");
                let stale = revoked.load(Ordering::SeqCst) && subject.known_good();
                assert!(!stale, "a stale answer was kept");
            }
            nothing_is_stale(&*subject, &at_work).await;
        });
    }
    block_on(async {
        subject.revoke().await;
        revoked.store(true, Ordering::SeqCst);
        nothing_is_stale(&*subject, &at_work).await;
    });
}

/// The last task to finish checks the final state. No task waits, which keeps the number of
/// schedules small.
async fn nothing_is_stale<S: Subject>(subject: &S, at_work: &AtomicUsize) {
    if at_work.fetch_sub(1, Ordering::SeqCst) == 1 {
        assert!(!subject.known_good(), "a stale answer was kept");
        assert!(
            !subject.status().await,
            "a stale answer outlived the revoke"
        );
    }
}

fn config() -> Config {
    let mut config = Config::new();
    // The default of 32 KiB is too small for a debug build of moka.
    config.stack_size = 0x4_0000;
    config
}

/// The real time after which a new moka cache runs its maintenance. The exploration then diverges,
/// since it relies on replaying the same steps.
const TIDIES_UP: Duration = Duration::from_millis(300);

/// The duration of the slowest schedule.
struct Slowest {
    begun: Instant,
    took: Duration,
}

impl Slowest {
    #[expect(clippy::disallowed_methods, reason = "moka asks for this time")]
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            took: Duration::ZERO,
        }
    }

    /// Ends one schedule and begins the next.
    fn next(&mut self) -> Duration {
        let took = self.took.max(self.begun.elapsed());
        *self = Self {
            took,
            ..Self::new()
        };
        took
    }
}

/// Explores every schedule, and returns their number. Starts over if the machine delayed one for
/// too long.
fn exhaustively(run: impl Fn() + Send + Sync + 'static) -> usize {
    let run = Arc::new(run);
    for _ in 0..10 {
        let slowest = Arc::new(Mutex::new(Slowest::new()));
        let one = {
            let (run, slowest) = (run.clone(), slowest.clone());
            move || {
                slowest.lock().expect("no panic here").next();
                run();
            }
        };
        let walk = || Runner::new(DfsScheduler::new(None, false), config()).run(one);
        let walked = catch_unwind(AssertUnwindSafe(walk));
        let is_valid = slowest.lock().expect("no panic here").next() < TIDIES_UP;
        match walked {
            Ok(walked) if is_valid => return walked,
            Err(panic) if is_valid || said(&*panic).contains(STALE) => resume_unwind(panic),
            _ => {}
        }
    }
    panic!("ten explorations had a schedule slower than {TIDIES_UP:?}");
}

/// The panic message of every check that fails.
const STALE: &str = "a stale answer";

fn said(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
    said + panic.downcast_ref::<&str>().copied().unwrap_or_default()
}

fn at_random(schedules: usize, run: impl Fn() + Send + Sync + 'static) {
    Runner::new(RandomScheduler::new(schedules), config()).run(run);
}

/// Returns whether the exploration finds a schedule that fails.
fn is_caught(run: impl Fn() + Send + Sync + 'static) -> bool {
    let explored = catch_unwind(AssertUnwindSafe(|| exhaustively(run)));
    let Err(panic) = explored else {
        return false;
    };
    let said = said(&*panic);
    assert!(said.contains(STALE), "it failed otherwise: {said}");
    true
}
