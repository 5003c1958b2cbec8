//! Runs the index of watches over shuttle's locks and atomics: a revocation between the check of a
//! token and the first poll of its stream is never missed.
//!
//! In a separate test binary, because the index finds its locks at `crate::sync`, which only a crate
//! root has.

#[allow(
    dead_code,
    unreachable_pub,
    reason = "the index is used in part, and its module is private here"
)]
#[path = "../src/watchers/mod.rs"]
mod watchers;

mod sync {
    pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};

    pub(crate) const SHARDS: usize = 1;
}

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use shuttle::{
    Config, Runner,
    future::block_on,
    scheduler::{PctScheduler, RandomScheduler},
    thread,
};
use tower_revoke_core::{
    Claims, Clock, KeyDigest, Listed, TokenEnd, TokenId, VerifiedToken, WatchToken,
};

use self::watchers::{Owner, Watch, Watchers};

fn token() -> VerifiedToken {
    let claims = Claims::from_value(json!({"sub": "ann"})).expect("claims");
    VerifiedToken::new(TokenId::from_bytes([7; 16]), claims, Duration::ZERO)
}

fn key() -> KeyDigest {
    KeyDigest::of_token(token().id())
}

/// What checks read, and the watches.
struct List {
    listed: sync::Mutex<Option<Listed>>,
    watchers: Watchers,
}

impl Owner for List {
    fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    fn tend(&self) {}
}

impl List {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            listed: sync::Mutex::new(None),
            watchers: Watchers::new(Clock::system()),
        })
    }

    fn listed(&self) -> Option<Listed> {
        *self.listed.lock().expect("no poison")
    }

    fn set(&self, listed: Option<Listed>) {
        *self.listed.lock().expect("no poison") = listed;
    }

    fn revoke(&self) {
        let listed = Listed::Revoked { until: None };
        self.set(Some(listed));
        self.watchers.listed(&key(), listed);
    }

    fn relist(&self) {
        self.watchers.relisted(&[key()], &|_| self.listed());
    }

    fn lift(&self) {
        self.set(None);
        self.relist();
    }

    fn register(self: &Arc<Self>) -> Watch<Self> {
        Watch::register(self.clone(), &token(), None, Duration::ZERO)
    }

    /// As the list does.
    fn watch(self: &Arc<Self>) -> Watch<Self> {
        let watch = self.register();
        if self.listed().is_some() {
            watch.set(TokenEnd::Revoked);
            self.relist();
        }
        watch
    }

    /// The mistake: the token is checked before its watch is registered.
    fn watch_checked_before(self: &Arc<Self>) -> Watch<Self> {
        let is_revoked = self.listed().is_some();
        let watch = self.register();
        if is_revoked {
            watch.set(TokenEnd::Revoked);
        }
        watch
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 0x4_0000;
    config
}

/// The atomics alone have too many schedules to walk through all. A miss needs no more than two
/// switches at the right moments, which is what the second scheduler looks for.
fn at_random(run: impl Fn() + Send + Sync + Clone + 'static) {
    Runner::new(RandomScheduler::new(2_000), config()).run(run.clone());
    Runner::new(PctScheduler::new(3, 2_000), config()).run(run);
}

fn a_stream_ends(watch: impl Fn(&Arc<List>) -> Watch<List> + Send + Copy + 'static) {
    let list = List::new();
    let stream = {
        let list = list.clone();
        thread::spawn(move || {
            let watch = watch(&list);
            // Never returns if the revocation is missed, and shuttle reports a deadlock.
            block_on(poll_fn(|cx| watch.poll_end(cx)))
        })
    };
    list.revoke();
    let end = stream.join().expect("the stream does not fail");
    assert_eq!(end, TokenEnd::Revoked);
    assert!(list.watchers.is_empty());
}

#[test]
fn a_revocation_while_a_stream_begins_is_never_missed() {
    at_random(|| a_stream_ends(List::watch));
}

#[test]
fn a_check_before_the_registration_is_caught() {
    let run = || at_random(|| a_stream_ends(List::watch_checked_before));
    let caught = catch_unwind(AssertUnwindSafe(run));
    assert!(caught.is_err(), "a missed revocation went unnoticed");
}

#[test]
fn a_lift_leaves_no_watch_ended() {
    at_random(|| {
        let list = List::new();
        let stream = {
            let list = list.clone();
            thread::spawn(move || list.watch())
        };
        list.revoke();
        list.lift();
        let watch = stream.join().expect("the stream does not fail");
        assert_eq!(watch.end(), None);
        list.revoke();
        assert_eq!(watch.end(), Some(TokenEnd::Revoked));
    });
}

#[test]
fn streams_that_leave_meet_revocations_at_random() {
    at_random(|| {
        let list = List::new();
        let streams: Vec<_> = (0..3)
            .map(|_| {
                let list = list.clone();
                thread::spawn(move || drop(list.watch()))
            })
            .collect();
        list.revoke();
        let watch = list.watch();
        for stream in streams {
            stream.join().expect("no stream fails");
        }
        assert_eq!(watch.end(), Some(TokenEnd::Revoked));
        assert_eq!(list.watchers.len(), 1);
        drop(watch);
        assert!(list.watchers.is_empty());
        let mut left = Vec::new();
        let _ = list.watchers.digests((0, 0), 10, &mut left);
        assert_eq!(left, []);
    });
}
