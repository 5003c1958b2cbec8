//! One part of the mirror: the states of its keys, and what was written here and not yet read.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use tower_revoke_core::{Change, KeyDigest, Listed, UnixTime};

use super::{packed::Packed, state::State};

#[derive(Debug, Default)]
pub(crate) struct Shard {
    packed: Map<Packed>,
    /// What does not fit into the short form. A key is here or there, never in both.
    apart: Map<State>,
    own: Map<Own>,
}

type Map<T> = HashMap<KeyDigest, T, BuildHasherDefault<Digests>>;

/// A key that was written through this list, while the feed may not have told of it yet.
///
/// A page that was read before the write, and is taken in after it, must not undo it. So what the
/// feed says goes into a state of its own, until a call that began after the write has ended: then
/// the feed has told everything, and its state is the key's.
#[derive(Debug)]
struct Own {
    /// Of the last write.
    number: u64,
    feed: State,
    /// Something was ended, or both was written at once: the store knows, nobody here does.
    ask: bool,
    /// When a revocation was said here, as it was said: a lift at a later time may be its own.
    said_at: Option<UnixTime>,
    /// A use that was won took the last use, of which the feed must tell.
    untold: bool,
}

/// What a write through this list has done to a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Write {
    /// It is listed.
    Lists(Listed, UnixTime),
    /// Its uses are gone; `own`: one of them was won here.
    Spends { until: Option<UnixTime>, own: bool },
    /// It was lifted.
    Lifts(UnixTime),
    /// A use was returned.
    Frees,
    /// Something that only the store can judge.
    Unknown,
}

/// What is known under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Nothing,
    Listed(Listed),
    /// Only the store knows.
    Ask,
}

/// What was acknowledged here, and the feed of a store that keeps its promises would have told.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    pub(crate) changes: Vec<Change>,
    pub(crate) taken: Vec<KeyDigest>,
}

impl Lost {
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.taken.is_empty()
    }
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.packed.len() + self.apart.len()
    }

    /// How many entries it holds without growing.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.packed.capacity()
    }

    /// Whether anything at all was said about the key.
    pub(super) fn knows(&self, key: &KeyDigest) -> bool {
        self.own.contains_key(key) || !self.known(key).is_empty()
    }

    pub(super) fn look(&self, key: &KeyDigest) -> Look {
        if !self.own.is_empty() && self.own.get(key).is_some_and(|own| own.ask) {
            return Look::Ask;
        }
        self.listed(key).map_or(Look::Nothing, Look::Listed)
    }

    /// How the key was listed last, as far as is known here.
    pub(super) fn listed(&self, key: &KeyDigest) -> Option<Listed> {
        if let Some(packed) = self.packed.get(key) {
            return Some(packed.listed());
        }
        if self.apart.is_empty() {
            return None;
        }
        self.apart.get(key)?.listed()
    }

    fn known(&self, key: &KeyDigest) -> State {
        let packed = self.packed.get(key).map(|packed| packed.state());
        packed.unwrap_or_else(|| self.apart.get(key).copied().unwrap_or_default())
    }

    fn put(&mut self, key: &KeyDigest, state: State) {
        if let Some(packed) = Packed::new(&state) {
            self.packed.insert(*key, packed);
            self.apart.remove(key);
            return;
        }
        self.packed.remove(key);
        if state.is_empty() {
            self.apart.remove(key);
        } else {
            self.apart.insert(*key, state);
        }
    }

    /// Takes in what the feed says.
    pub(super) fn follow(&mut self, change: &Change) {
        let key = change.key();
        if let Some(own) = self.own.get_mut(key) {
            own.feed.apply(change);
            let tells_of_uses = matches!(
                change,
                Change::Returned { .. }
                    | Change::Listed {
                        listed: Listed::Spent { .. },
                        ..
                    }
            );
            own.untold &= !tells_of_uses;
            return;
        }
        let mut state = self.known(key);
        state.apply(change);
        self.put(key, state);
    }

    /// Takes in what was written through this list, and is durable.
    pub(super) fn write(&mut self, key: &KeyDigest, write: Write, number: u64) {
        let before = self.known(key);
        let mut state = before;
        let own = self.own.entry(*key).or_insert(Own {
            number,
            feed: before,
            ask: false,
            said_at: None,
            untold: false,
        });
        own.number = number;
        match write {
            Write::Lists(listed, at) => {
                own.said_at = own.said_at.max(Some(at));
                // It is newer than any lift, whatever the clocks said.
                let at = state.lifted.map_or(at, |lifted| at.max(lifted.at));
                state.apply(&Change::Listed {
                    key: *key,
                    listed,
                    at,
                });
            }
            Write::Spends { until, own: won } => {
                // A use that may be returned already is not missed.
                own.untold |= won && !own.ask;
                let (listed, at) = (Listed::Spent { until }, UnixTime::EPOCH);
                state.apply(&Change::Listed {
                    key: *key,
                    listed,
                    at,
                });
            }
            Write::Lifts(at) => {
                own.ask = true;
                if let Some(said) = state.said {
                    let after = UnixTime::from_secs(said.at.as_secs().saturating_add(1));
                    let (at, until) = (at.max(after), said.listed.until());
                    state.apply(&Change::Lifted {
                        key: *key,
                        at,
                        until,
                    });
                }
            }
            Write::Frees => {
                (own.ask, own.untold) = (true, false);
                state.apply(&Change::Returned { key: *key });
            }
            Write::Unknown => own.ask = true,
        }
        self.put(key, state);
    }

    /// Ends what was written before the write `number`: a call of the feed began since then.
    /// `complete`: it has told everything. Calls `changed` for each key.
    pub(super) fn settle(
        &mut self,
        number: u64,
        complete: bool,
        lost: &mut Lost,
        mut changed: impl FnMut(&KeyDigest),
    ) {
        if self.own.is_empty() {
            return;
        }
        let settled: Vec<_> = self.own.extract_if(|_, own| own.number < number).collect();
        for (key, own) in settled {
            let (here, mut state) = (self.known(&key), own.feed);
            // The feed tells neither of a revocation that was acknowledged here, nor of its end:
            // the store has lost it, or has not told yet.
            let untold = own.said_at.filter(|at| {
                let lifted_before = own.feed.lifted.is_none_or(|lifted| lifted.at <= *at);
                own.feed.said.is_none() && lifted_before
            });
            if let (Some(at), Some(said)) = (untold, here.said) {
                state.said = Some(said);
                if complete {
                    let listed = said.listed;
                    lost.changes.push(Change::Listed { key, listed, at });
                }
            }
            if complete && own.untold && own.feed.spent.is_none() {
                lost.taken.push(key);
            }
            self.put(&key, state);
            changed(&key);
        }
        self.own.shrink_to(64);
    }

    /// Takes the place of `old`, of which it keeps what no store tells a second time: lifts, and
    /// what was written since the write `number`.
    pub(super) fn replace(&mut self, old: &mut Self, number: u64) {
        for (key, before) in &old.apart {
            let Some(lifted) = before.lifted else {
                continue;
            };
            let mut state = self.known(key);
            let stands = state.said.is_none_or(|said| said.at >= lifted.at);
            if state.lifted.is_none() && stands {
                state.lifted = Some(lifted);
                self.put(key, state);
            }
        }
        for (key, mut own) in std::mem::take(&mut old.own) {
            if own.number < number {
                continue;
            }
            let here = old.known(&key);
            own.feed = self.known(&key);
            self.put(&key, here);
            self.own.insert(key, own);
        }
    }

    /// Drops what was written here and not yet read: nobody reads any more.
    pub(super) fn forget_own(&mut self) {
        self.own = Map::default();
    }

    /// Forgets what ended before a time.
    pub(super) fn forget(&mut self, before: UnixTime) {
        self.packed.retain(|_, packed| packed.until() >= before);
        self.apart.retain(|_, state| {
            state.forget(before);
            !state.is_empty()
        });
        give_room_back(&mut self.packed);
        give_room_back(&mut self.apart);
    }

    /// All that a store must be told that has forgotten it.
    pub(super) fn changes(&self) -> Vec<Change> {
        let packed = self.packed.iter().map(|(key, one)| (*key, one.state()));
        let apart = self.apart.iter().map(|(key, state)| (*key, *state));
        let all = packed.chain(apart);
        all.flat_map(|(key, state)| state.changes(key)).collect()
    }
}

fn give_room_back<T>(map: &mut Map<T>) {
    if map.len() < map.capacity() / 4 {
        map.shrink_to(2 * map.len());
    }
}

/// Keys are halves of SHA-256 sums: their last bytes are a hash already. The first ones choose the
/// shard, so within a shard they are nearly alike.
#[derive(Debug, Default)]
pub(super) struct Digests(u64);

impl Hasher for Digests {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            self.0 = u64::from_le_bytes(*last);
        }
    }

    /// The length, which is always the same.
    fn write_usize(&mut self, _: usize) {}
}
