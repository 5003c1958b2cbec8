//! Ends the watches of tokens: by what the list learns, by the clock, and by asking the store.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Fuse, FusedFuture, select},
};
use tokio::runtime::Handle;
use tower_revoke_core::{
    Cursor, KeyDigest, Listed, Store, StoreError, TokenEnd, TokenStatus, VerifiedToken, WatchToken,
    retention::has_ended,
};

use super::{Engine, source::Source};
use crate::{
    mirror::{Key, Mirror, Phase, Write},
    timer::Timer,
    watchers::{Owner, Watch, Watchers},
};

/// The longest interval between two looks at the clock: a second of expiry is noticed so late at
/// most.
const TICK: Duration = Duration::from_millis(250);

/// The interval while nobody watches. The first watch ends it.
const IDLE: Duration = Duration::from_secs(3_600);

/// How many keys one question asks the store about.
const KEYS_AT_ONCE: usize = 512;

impl<S: Store, T: Timer> Owner for Engine<S, T> {
    fn watchers(&self) -> &Watchers {
        &self.source.watchers
    }

    fn tend(&self) {
        self.start_tending();
    }
}

impl<S: Store, T: Timer> Engine<S, T> {
    /// Registers a watch, then checks the token.
    pub(super) fn begin_watch(
        self: Arc<Self>,
        token: &VerifiedToken,
        unknown_timeout: Option<Duration>,
    ) -> Watch<Self> {
        let clock = &self.source.clock;
        let (now, uptime) = (clock.now(), clock.uptime());
        let watch = Watch::register(self.clone(), token, unknown_timeout, uptime);
        if has_ended(token.usable_until(), now) {
            watch.set(TokenEnd::Expired);
        }
        let mirror = self.source.mirror.as_ref();
        let rejection = || mirror.and_then(|mirror| mirror.rejection(token));
        match self.find_status(token) {
            Some(TokenStatus::Revoked) => watch.set(TokenEnd::Revoked),
            Some(_) => {}
            None if rejection() == Some(TokenStatus::Revoked) => watch.set(TokenEnd::Revoked),
            None => self.source.watchers.check(token),
        }
        if let Some(mirror) = mirror.filter(|_| watch.end() == Some(TokenEnd::Revoked)) {
            // A lift that came after the check has found a watch that had not ended.
            let own = KeyDigest::of_token(token.id());
            self.source.tell_watchers(mirror, &[own]);
        }
        watch
    }

    /// Starts the task that tends the watches, if none runs and there is a tokio runtime.
    pub(super) fn start_tending(&self) {
        let watchers = &self.source.watchers;
        if watchers.is_tended.load(Ordering::Acquire) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if !watchers.is_tended.swap(true, Ordering::AcqRel) {
            let tending = Tending(self.source.clone());
            let task = runtime.spawn(async move { tending.0.tend_watches().await });
            let mut tender = self.tender.lock().unwrap_or_else(PoisonError::into_inner);
            *tender = Some(task.abort_handle());
        }
    }
}

/// Has another task follow, for whatever reason this one ends. Made outside of the future, which a
/// runtime that shuts down may drop unpolled.
struct Tending<S, T>(Arc<Source<S, T>>);

impl<S, T> Drop for Tending<S, T> {
    fn drop(&mut self) {
        self.0.watchers.leave();
    }
}

impl<S: Store, T: Timer> Source<S, T> {
    /// Applies keys that have changed in the mirror.
    pub(super) fn tell_watchers(&self, mirror: &Mirror, keys: &[KeyDigest]) {
        self.watchers.relisted(keys, &|key| mirror.listed(key));
    }

    /// Applies a write through this list, after checks know it.
    pub(super) fn tell_watchers_of_write(&self, key: Key, write: Write) {
        if let Write::Lists(listed, _) = write {
            self.watchers.listed(&key.digest, listed);
        } else if !matches!(write, Write::UsesUp { .. }) {
            match &self.mirror {
                Some(mirror) => self.tell_watchers(mirror, &[key.digest]),
                None => self.watchers.hurry(),
            }
        }
    }

    async fn tend_watches(&self) {
        let seen = Mutex::new(None);
        let mut round: Fuse<BoxFuture<'_, ()>> = Fuse::terminated();
        let mut next_round = Duration::ZERO;
        let ask_every = self.max_staleness / 2;
        let tick = TICK.min(ask_every / 2).max(Duration::from_millis(10));
        loop {
            let tick = if self.watchers.is_empty() { IDLE } else { tick };
            let wake = async {
                select(&mut round, pin!(self.watchers.wake.notified())).await;
            };
            self.timer.pause(tick, wake).await;
            let uptime = self.clock.uptime();
            self.watchers.expire(self.clock.now());
            let mirror = self.mirror.as_ref();
            let mirrored = mirror.and_then(|mirror| mirror.age(uptime));
            if let Some(age) = mirrored.filter(|age| *age < self.max_staleness) {
                self.watchers.known_at(uptime.saturating_sub(age));
                // The feed tells what could not be checked.
                drop(self.watchers.take_unchecked());
                continue;
            }
            // A process that has stood still asks before it gives up.
            let hangs = uptime.saturating_sub(next_round) > self.max_staleness;
            if self.watchers.is_unanswered() || hangs && !round.is_terminated() {
                self.watchers.give_up(uptime);
            }
            if round.is_terminated() && !self.watchers.is_empty() {
                let unchecked = self.watchers.take_unchecked();
                if self.watchers.take_hurry() || uptime >= next_round {
                    next_round = uptime + ask_every;
                    round = self.ask_about_all(&seen).boxed().fuse();
                } else if !unchecked.is_empty() {
                    round = self.ask_about(unchecked).boxed().fuse();
                }
            }
        }
    }

    async fn ask_about(&self, keys: Vec<KeyDigest>) {
        // A failure is counted and logged. The next round asks about all.
        let _ = self
            .ask(&keys, |key, listed| self.watchers.listed(key, listed))
            .await;
    }

    /// Asks the store about all tokens that are watched, unless nothing has changed since the last
    /// time. `seen` is where the feed ended then.
    async fn ask_about_all(&self, seen: &Mutex<Option<Cursor>>) {
        let began = self.clock.uptime();
        let end = self.end_at_once().await;
        if end.is_some() && *seen.lock().unwrap_or_else(PoisonError::into_inner) == end {
            return self.watchers.answered(Some(began));
        }
        let mut revives = !self.is_writing_back();
        let revoked = self.watchers.revoked();
        let mut found = HashMap::new();
        let mut keys = Vec::new();
        let mut place = Some((0, 0));
        let mut complete = true;
        while let Some(from) = place.filter(|_| complete) {
            place = self.watchers.digests(from, KEYS_AT_ONCE, &mut keys);
            if keys.len() >= KEYS_AT_ONCE || place.is_none() {
                let find = |key: &KeyDigest, listed| {
                    found.insert(*key, listed);
                };
                complete = self.ask(&keys, find).await.is_ok();
                keys.clear();
            }
        }
        // What was found before a failure counts.
        let look = |key: &KeyDigest| found.get(key).copied();
        revives &= complete && !self.is_writing_back();
        let is_current = self
            .watchers
            .review_answers(&look, revives.then_some(&revoked));
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = end.filter(|_| is_current);
        self.watchers.answered(complete.then_some(began));
    }

    /// Returns where the feed of a store ends that answers at once.
    async fn end_at_once(&self) -> Option<Cursor> {
        match S::ANSWERS_AT_ONCE {
            true => self.store.feed()?.end().await.ok()?,
            false => None,
        }
    }

    /// Returns whether the store has lost entries. That it doesn't list them then ends no revocation.
    fn is_writing_back(&self) -> bool {
        let phase = self.mirror.as_ref().map(Mirror::phase);
        phase == Some(Phase::WritingBack)
    }

    /// Asks the store about keys, and passes on what it lists.
    async fn ask(
        &self,
        keys: &[KeyDigest],
        mut found: impl FnMut(&KeyDigest, Listed),
    ) -> Result<(), StoreError> {
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let listed = self.in_time(self.store.look_up(keys)).await;
            let listed = listed.inspect_err(|error| self.failed(error))?;
            self.answered();
            for (key, listed) in keys.iter().zip(listed) {
                if let Some(listed) = listed {
                    found(key, listed);
                }
            }
            // A store in memory doesn't yield.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
