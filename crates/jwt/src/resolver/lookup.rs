//! Asks the resolver: who waits for an answer, and when a question is asked.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
    time::timeout,
};
use tower_revoke_core::{
    BoxError, Clock, KeyDigest, Reason, Rejection, RevocationKey,
    internal::{LogLimit, OutageLog},
};

use super::{
    DynResolver, IssuerStats,
    answers::{Answers, NotTrusted, Resolved},
    rate::RateLimit,
};
use crate::{
    JwtVerifierError, TrustedIssuer,
    builder::BuildContext,
    keys::remote::{GRACE, MAX_WAITING, Waiter},
};

/// The longest `iss` that the resolver is asked about.
const MAX_ISSUER: usize = 2_048;

/// The settings of the same names, with `issuer_` in front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) capacity: usize,
    pub(crate) max_age: Duration,
    pub(crate) retry_interval: Duration,
    pub(crate) lookups_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            capacity: 1_000,
            max_age: Duration::from_secs(10 * 60),
            retry_interval: Duration::from_secs(10),
            lookups_per_second: 50,
        }
    }
}

/// The issuers that a resolver resolves.
pub(crate) struct ResolvedIssuers(Arc<Shared>);

struct Shared {
    resolver: Box<dyn DynResolver>,
    limits: Limits,
    context: BuildContext,
    rate: Arc<RateLimit>,
    /// Permits to wait for an answer.
    waiting: Semaphore,
    state: Mutex<State>,
}

struct State {
    answers: Answers,
    /// The questions without an answer yet.
    open: HashMap<KeyDigest, Question>,
    asked: u64,
    stats: IssuerStats,
    failures: OutageLog,
    limited: LogLimit,
    evicted: LogLimit,
}

struct Question {
    number: u64,
    /// Dropped with the answer.
    answered: watch::Sender<()>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum ResolveError {
    #[error("the resolver failed")]
    Failed(#[source] BoxError),
    #[error("the resolver did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("the resolver panicked, or its runtime has ended")]
    Cancelled,
    #[error("the resolver returned the issuer {0:?}")]
    OtherIssuer(String),
    #[error("the issuer is misconfigured")]
    Misconfigured(#[source] JwtVerifierError),
}

/// A token's issuer may be trusted, but that is not known.
#[derive(Debug, thiserror::Error)]
enum IssuerUnknown {
    #[error("the issuer could not be resolved")]
    NoAnswer,
    #[error("there are too many unknown issuers")]
    Limited,
    #[error("there is no tokio runtime")]
    NoRuntime,
}

impl From<IssuerUnknown> for Rejection {
    fn from(error: IssuerUnknown) -> Self {
        Rejection::new(Reason::Unavailable).source(error)
    }
}

impl From<NotTrusted> for Rejection {
    fn from(why: NotTrusted) -> Self {
        match why {
            NotTrusted::Denied => Reason::WrongIssuer.into(),
            NotTrusted::Unknown => IssuerUnknown::NoAnswer.into(),
        }
    }
}

impl ResolvedIssuers {
    /// `rate` is also that of the fetches that `context` builds.
    pub(crate) fn new(
        resolver: Box<dyn DynResolver>,
        limits: Limits,
        context: BuildContext,
        rate: Arc<RateLimit>,
    ) -> Self {
        let answers = Answers::new(limits.capacity, limits.max_age, limits.retry_interval);
        Self(Arc::new(Shared {
            resolver,
            limits,
            context,
            rate,
            waiting: Semaphore::new(MAX_WAITING),
            state: Mutex::new(State {
                answers,
                open: HashMap::new(),
                asked: 0,
                stats: IssuerStats::default(),
                failures: OutageLog::default(),
                limited: LogLimit::default(),
                evicted: LogLimit::default(),
            }),
        }))
    }

    /// Returns the issuer of a token that was verified before, if it is still trusted.
    pub(crate) fn current(&self, issuer: &Weak<Resolved>) -> Option<Arc<Resolved>> {
        let issuer = issuer.upgrade()?;
        let uptime = self.0.uptime();
        let age = issuer.age(uptime);
        if age >= self.0.limits.max_age {
            return None;
        }
        self.0.ask_again_if_due(&issuer, age, uptime);
        Some(issuer)
    }

    /// Returns this issuer, if it is known to be trusted.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Resolved>> {
        let uptime = self.0.uptime();
        let issuer = match self.0.lock().answers.get(&digest(name), uptime) {
            Some(Ok(issuer)) => issuer.clone(),
            _ => return None,
        };
        self.0.ask_again_if_due(&issuer, issuer.age(uptime), uptime);
        Some(issuer)
    }

    /// Waits until it is known whether this issuer is trusted.
    pub(crate) async fn resolve(&self, name: &str) -> Result<(), Rejection> {
        let key = digest(name);
        if let Some(known) = self.0.known(&key) {
            return known;
        }
        if !is_plausible(name) || !self.0.resolver.may_trust(name) {
            return Err(Reason::WrongIssuer.into());
        }
        let waiter = self.0.ask(name, key, false)?;
        let limit = self.0.context.fetch_timeout().saturating_add(GRACE);
        waiter.wait(&self.0.waiting, limit).await;
        let known = self.0.known(&key);
        known.unwrap_or_else(|| Err(IssuerUnknown::NoAnswer.into()))
    }

    pub(crate) fn forget(&self, name: &str) {
        let key = digest(name);
        let mut state = self.0.lock();
        state.answers.forget(&key);
        // An answer to a question that was asked before doesn't count.
        state.open.remove(&key);
    }

    pub(crate) fn trusted(&self) -> Vec<Arc<Resolved>> {
        self.0.lock().answers.trusted().cloned().collect()
    }

    pub(crate) fn stats(&self) -> IssuerStats {
        let state = self.0.lock();
        IssuerStats {
            trusted: state.answers.trusted().count(),
            ..state.stats
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn uptime(&self) -> Duration {
        self.clock().uptime()
    }

    fn clock(&self) -> &Clock {
        self.context.clock()
    }

    fn known(&self, key: &KeyDigest) -> Option<Result<(), Rejection>> {
        let uptime = self.uptime();
        let state = self.lock();
        let known = state.answers.get(key, uptime)?;
        Some(known.map(|_| ()).map_err(Rejection::from))
    }

    /// Asks in the background about a trusted issuer whose answer is half as old as it may be.
    fn ask_again_if_due(self: &Arc<Self>, issuer: &Resolved, age: Duration, uptime: Duration) {
        if age >= self.limits.max_age / 2 && issuer.is_to_ask(uptime, self.limits.retry_interval) {
            let name = &issuer.issuer.name;
            // Nobody waits for it; it is tried again later.
            let _ = self.ask(name, digest(name), true);
        }
    }

    /// Asks about an issuer, unless that question is open. Returns what to wait for.
    ///
    /// The rate is not for trusted issuers, which are asked about at intervals: made-up ones that use
    /// it up would end the trust in all others.
    fn ask(
        self: &Arc<Self>,
        name: &str,
        key: KeyDigest,
        is_trusted: bool,
    ) -> Result<Waiter, IssuerUnknown> {
        let uptime = self.uptime();
        let mut state = self.lock();
        if let Some(open) = state.open.get(&key) {
            return Ok(Waiter(open.answered.subscribe()));
        }
        let runtime = Handle::try_current().map_err(|_| IssuerUnknown::NoRuntime)?;
        if !is_trusted && !self.rate.allows(uptime) {
            state.stats.limited += 1;
            if let Some(count) = state.limited.count(uptime, 1) {
                tracing::warn!(
                    target: "tower_revoke::jwt",
                    count,
                    "tokens of unknown issuers are rejected: there are too many"
                );
            }
            return Err(IssuerUnknown::Limited);
        }
        state.stats.lookups += 1;
        state.asked += 1;
        let number = state.asked;
        let (answered, waiter) = watch::channel(());
        state.open.insert(key, Question { number, answered });
        let guard = QuestionGuard {
            shared: self.clone(),
            name: name.to_owned(),
            key,
            number,
            asked_at: uptime,
        };
        runtime.spawn(guard.ask());
        Ok(Waiter(waiter))
    }

    /// Builds what the resolver returned, unless it is what is known already.
    fn built(
        &self,
        guard: &QuestionGuard,
        issuer: TrustedIssuer,
    ) -> Result<Arc<Resolved>, ResolveError> {
        let QuestionGuard { name, key, .. } = guard;
        let config = issuer.into_config();
        if config.name() != *name {
            return Err(ResolveError::OtherIssuer(config.name().to_owned()));
        }
        let known = match self.lock().answers.get(key, self.uptime()) {
            Some(Ok(known)) => Some(known.clone()),
            _ => None,
        };
        if let Some(known) = known.filter(|known| known.config == config) {
            return Ok(known);
        }
        let built = self.context.build(config.clone());
        let built = built.map_err(ResolveError::Misconfigured)?;
        Ok(Resolved::new(built, config, guard.asked_at))
    }

    /// Takes an answer, if the question still counts.
    fn answer(&self, guard: &QuestionGuard, answer: Result<Option<Arc<Resolved>>, ResolveError>) {
        let uptime = self.uptime();
        let (name, key) = (&guard.name, guard.key);
        let mut state = self.lock();
        // Waiters wake once it is dropped, and then see the answer.
        let open = state.open.get(&key).map(|open| open.number);
        if open != Some(guard.number) {
            return;
        }
        let question = state.open.remove(&key);
        match answer {
            Ok(Some(issuer)) => {
                let known = state.answers.get(&key, uptime);
                if matches!(known, Some(Ok(known)) if Arc::ptr_eq(known, &issuer)) {
                    state.answers.confirm(&issuer, guard.asked_at, uptime);
                } else {
                    let evicted = state.answers.trust(key, issuer, uptime);
                    state.stats.evicted += evicted;
                    if let Some(count) = state.evicted.count(uptime, evicted) {
                        tracing::warn!(
                            target: "tower_revoke::jwt",
                            count,
                            "issuers are forgotten: more are in use than issuer_capacity"
                        );
                    }
                }
                if state.failures.works() {
                    tracing::info!(target: "tower_revoke::jwt", "issuers can be resolved again");
                }
            }
            Ok(None) => {
                state.stats.untrusted += 1;
                state.answers.distrust(key, NotTrusted::Denied, uptime);
                if state.failures.works() {
                    tracing::info!(target: "tower_revoke::jwt", "issuers can be resolved again");
                }
            }
            Err(error) => {
                state.stats.failures += 1;
                state.answers.distrust(key, NotTrusted::Unknown, uptime);
                if let Some(count) = state.failures.failed(uptime) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        target: "tower_revoke::jwt",
                        issuer = name,
                        error,
                        count,
                        "an issuer can't be resolved"
                    );
                }
            }
        }
        drop(state);
        drop(question);
    }
}

/// Whether this may be the URL of an issuer.
fn is_plausible(issuer: &str) -> bool {
    let is_short = (1..=MAX_ISSUER).contains(&issuer.len());
    is_short && issuer.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A key of fixed length, whatever callers write into `iss`.
fn digest(issuer: &str) -> KeyDigest {
    RevocationKey::issuer(issuer).digest()
}

/// A question that is being asked. It is answered whatever becomes of the task.
struct QuestionGuard {
    shared: Arc<Shared>,
    name: String,
    key: KeyDigest,
    number: u64,
    /// The answer is as old as the question: the resolver may have looked just after it.
    asked_at: Duration,
}

impl QuestionGuard {
    async fn ask(self) {
        let limit = self.shared.context.fetch_timeout();
        let answer = timeout(limit, self.shared.resolver.resolve(&self.name)).await;
        let answer = match answer {
            Ok(Ok(Some(issuer))) => self.shared.built(&self, issuer).map(Some),
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) => Err(ResolveError::Failed(error)),
            Err(_) => Err(ResolveError::TimedOut(limit)),
        };
        self.shared.answer(&self, answer);
    }
}

impl Drop for QuestionGuard {
    fn drop(&mut self) {
        self.shared.answer(self, Err(ResolveError::Cancelled));
    }
}
