//! Tests issuers that are not known when the verifier is built, with a scripted resolver.

mod answers;
mod dropped;
mod flood;
mod template;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::{Semaphore, watch};
use tower_revoke_core::{BoxError, Clock, ManualClock};
use tower_revoke_jwt::{IssuerResolver, JwtVerifier, JwtVerifierBuilder, TrustedIssuer};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use crate::support::START;

type Answer = dyn Fn() -> Result<Option<TrustedIssuer>, BoxError> + Send + Sync;

/// Answers as scripted, once the test allows it. Other issuers are not trusted.
#[derive(Clone)]
pub struct Script(Arc<Inner>);

struct Inner {
    answers: Mutex<HashMap<String, Arc<Answer>>>,
    asked: watch::Sender<Vec<String>>,
    answered: watch::Sender<usize>,
    gate: Semaphore,
    /// What `may_trust` accepts begins with this.
    prefix: &'static str,
}

impl Script {
    pub fn new() -> Self {
        Self::of_issuers_at("")
    }

    pub fn of_issuers_at(prefix: &'static str) -> Self {
        Self(Arc::new(Inner {
            answers: Mutex::default(),
            asked: watch::Sender::default(),
            answered: watch::Sender::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            prefix,
        }))
    }

    pub fn answer(
        &self,
        issuer: &str,
        answer: impl Fn() -> Result<Option<TrustedIssuer>, BoxError> + Send + Sync + 'static,
    ) {
        let mut answers = self.0.answers.lock().unwrap();
        answers.insert(issuer.to_owned(), Arc::new(answer));
    }

    /// Trusts an issuer with the keys that it has now, for the audience `orders`.
    pub fn trust(&self, issuer: &TestIssuer) {
        let (name, keys) = (issuer.issuer().to_owned(), issuer.jwks().to_string());
        self.answer(issuer.issuer(), move || {
            Ok(Some(trusted(&name).jwks(keys.clone())))
        });
    }

    pub fn distrust(&self, issuer: &TestIssuer) {
        self.answer(issuer.issuer(), || Ok(None));
    }

    pub fn fail(&self, issuer: &TestIssuer) {
        self.answer(issuer.issuer(), || Err("the database is down".into()));
    }

    pub fn hold(&self) {
        self.0.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub fn release(&self) {
        self.0.gate.add_permits(100_000);
    }

    pub fn asked(&self) -> usize {
        self.0.asked.borrow().len()
    }

    /// Waits until so many questions were asked.
    pub async fn asked_times(&self, times: usize) {
        let mut asked = self.0.asked.subscribe();
        asked.wait_for(|asked| asked.len() >= times).await.unwrap();
    }

    /// Waits until so many questions were answered, and the answers taken.
    pub async fn answered_times(&self, times: usize) {
        let mut answered = self.0.answered.subscribe();
        answered.wait_for(|count| *count >= times).await.unwrap();
        tokio::task::yield_now().await;
    }

    /// Configures a verifier without other issuers.
    pub fn verifier(&self, clock: &Clock) -> JwtVerifierBuilder {
        JwtVerifier::issuer_resolver(self.clone())
            .clock(clock.clone())
            .without_revocations()
    }
}

impl IssuerResolver for Script {
    fn may_trust(&self, issuer: &str) -> bool {
        issuer.starts_with(self.0.prefix)
    }

    async fn resolve(&self, issuer: &str) -> Result<Option<TrustedIssuer>, BoxError> {
        self.0
            .asked
            .send_modify(|asked| asked.push(issuer.to_owned()));
        self.0.gate.acquire().await.unwrap().forget();
        let answer = self.0.answers.lock().unwrap().get(issuer).cloned();
        let answer = answer.map_or(Ok(None), |answer| answer());
        self.0.answered.send_modify(|count| *count += 1);
        answer
    }
}

pub fn trusted(issuer: &str) -> TrustedIssuer {
    TrustedIssuer::new(issuer).audience("orders")
}

/// The issuer of a customer, and the clock of all.
pub fn customer(name: &str, clock: &Clock) -> TestIssuer {
    let issuer = format!("https://id.example.com/{name}");
    TestIssuer::with(issuer, TestAlgorithm::EdDSA).clock(clock.clone())
}

/// A customer, a resolver that trusts it, and a verifier.
pub struct Setup {
    pub acme: TestIssuer,
    pub script: Script,
    pub tokens: JwtVerifier,
    pub clock: Clock,
    hand: ManualClock,
}

impl Setup {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub fn with(more: impl FnOnce(JwtVerifierBuilder) -> JwtVerifierBuilder) -> Self {
        let (clock, hand) = Clock::manual(START);
        let acme = customer("acme", &clock);
        let script = Script::new();
        script.trust(&acme);
        let tokens = more(script.verifier(&clock)).build().unwrap();
        Self {
            acme,
            script,
            tokens,
            clock,
            hand,
        }
    }

    pub fn later(&self, secs: u64) {
        self.hand.advance(Duration::from_secs(secs));
    }
}
