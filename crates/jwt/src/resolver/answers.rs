//! What is known of issuers: the trusted ones, and those that were asked about in vain. No I/O; times
//! are uptimes.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tower_revoke_core::KeyDigest;

use crate::{builder::IssuerConfig, issuers::Issuer};

/// An issuer that a resolver trusts.
///
/// Only [`Answers`] holds it: cached tokens have a weak reference, so that they are good no longer than
/// their issuer is.
pub(crate) struct Resolved {
    pub(crate) issuer: Issuer,
    /// What it was built of, by which an answer is recognized as the same.
    pub(super) config: IssuerConfig,
    /// When the question was asked whose answer it is.
    as_of: Millis,
    asked_at: Millis,
}

impl Resolved {
    pub(super) fn new(issuer: Issuer, config: IssuerConfig, asked_at: Duration) -> Arc<Self> {
        Arc::new(Self {
            issuer,
            config,
            as_of: Millis::new(asked_at),
            asked_at: Millis::new(asked_at),
        })
    }

    pub(super) fn age(&self, uptime: Duration) -> Duration {
        uptime.saturating_sub(self.as_of.get())
    }

    /// Whether the caller is the one to ask again, once in `interval`.
    pub(super) fn is_to_ask(&self, uptime: Duration, interval: Duration) -> bool {
        let asked_at = self.asked_at.get();
        uptime.saturating_sub(asked_at) >= interval && self.asked_at.replace(asked_at, uptime)
    }
}

/// An uptime in milliseconds.
struct Millis(AtomicU64);

impl Millis {
    fn new(uptime: Duration) -> Self {
        Self(AtomicU64::new(millis(uptime)))
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, uptime: Duration) {
        self.0.store(millis(uptime), Ordering::Relaxed);
    }

    fn replace(&self, old: Duration, new: Duration) -> bool {
        let (old, new) = (millis(old), millis(new));
        let replaced = self
            .0
            .compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed);
        replaced.is_ok()
    }
}

fn millis(uptime: Duration) -> u64 {
    u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)
}

/// Why there is no trusted issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTrusted {
    /// The resolver said so.
    Denied,
    /// The resolver could not say.
    Unknown,
}

/// A bounded number of answers, under the digests of their issuers.
pub(super) struct Answers {
    capacity: usize,
    max_age: Duration,
    retry_interval: Duration,
    trusted: HashMap<KeyDigest, Arc<Resolved>>,
    others: HashMap<KeyDigest, (Duration, NotTrusted)>,
}

impl Answers {
    pub(super) fn new(capacity: usize, max_age: Duration, retry_interval: Duration) -> Self {
        Self {
            capacity,
            max_age,
            retry_interval,
            trusted: HashMap::new(),
            others: HashMap::new(),
        }
    }

    /// Returns what is known of an issuer.
    pub(super) fn get(
        &self,
        key: &KeyDigest,
        uptime: Duration,
    ) -> Option<Result<&Arc<Resolved>, NotTrusted>> {
        if let Some(issuer) = self.trusted.get(key)
            && issuer.age(uptime) < self.max_age
        {
            return Some(Ok(issuer));
        }
        let (at, why) = self.others.get(key)?;
        (uptime.saturating_sub(*at) < self.retry_interval).then_some(Err(*why))
    }

    pub(super) fn trusted(&self) -> impl Iterator<Item = &Arc<Resolved>> {
        self.trusted.values()
    }

    /// Keeps an issuer, in place of what was known of it. Returns how many others had to go.
    pub(super) fn trust(&mut self, key: KeyDigest, issuer: Arc<Resolved>, uptime: Duration) -> u64 {
        self.others.remove(&key);
        self.trusted.insert(key, issuer);
        self.forget_old(uptime);
        let mut evicted = 0;
        while self.trusted.len() > self.capacity {
            let others = self.trusted.iter().filter(|(other, _)| **other != key);
            let Some(oldest) = others.max_by_key(|(_, issuer)| issuer.age(uptime)) else {
                break;
            };
            let oldest = *oldest.0;
            self.trusted.remove(&oldest);
            evicted += 1;
        }
        evicted
    }

    /// The same answer again, to a question that was asked at `asked_at`.
    pub(super) fn confirm(&mut self, issuer: &Resolved, asked_at: Duration, uptime: Duration) {
        issuer.as_of.set(asked_at);
        self.forget_old(uptime);
    }

    /// Notes that an issuer is not trusted. A trusted one is kept while nothing else is known of it.
    pub(super) fn distrust(&mut self, key: KeyDigest, why: NotTrusted, uptime: Duration) {
        if why == NotTrusted::Denied {
            self.trusted.remove(&key);
        }
        self.forget_old(uptime);
        if self.others.len() >= self.capacity {
            let oldest = self.others.iter().min_by_key(|(_, (at, _))| *at);
            if let Some(oldest) = oldest.map(|(oldest, _)| *oldest) {
                self.others.remove(&oldest);
            }
        }
        self.others.insert(key, (uptime, why));
    }

    pub(super) fn forget(&mut self, key: &KeyDigest) {
        self.trusted.remove(key);
        self.others.remove(key);
    }

    /// Forgets what no longer counts. This also ends the fetches of issuers that are not in use.
    fn forget_old(&mut self, uptime: Duration) {
        self.trusted
            .retain(|_, issuer| issuer.age(uptime) < self.max_age);
        let is_old = |at: Duration| uptime.saturating_sub(at) >= self.retry_interval;
        self.others.retain(|_, (at, _)| !is_old(*at));
    }
}
