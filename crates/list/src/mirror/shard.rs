//! One shard of the mirror: the states of its keys, and the local writes that the feed may not
//! contain yet.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use tower_revoke_core::{Change, KeyDigest, Listed, UnixTime, retention};

use super::{
    packed::Packed,
    state::{Lifted, Revoked, State},
};

#[derive(Debug, Default)]
pub(crate) struct Shard {
    packed: Map<Packed>,
    /// The states that can't be packed. A key is in one of the two maps, never in both.
    apart: Map<State>,
    own: Map<Own>,
}

type Map<T> = HashMap<KeyDigest, T, BuildHasherDefault<Digests>>;

/// A key that was written through this list, while the feed may not contain the write yet.
///
/// A page of the feed that was read before the write, but is applied after it, must not undo it. So
/// changes of the feed go into the separate state `feed`. A call of the feed that begins after the
/// write returns it, so once such a call has completed, `feed` becomes the state of the key.
#[derive(Debug)]
struct Own {
    /// The number of the last write.
    number: u64,
    /// The state according to the feed.
    feed: State,
    /// Whether only the store knows the status: an entry was ended here, perhaps while another
    /// write listed the key again.
    ask: bool,
    /// The time of a revocation that was made here. A lift with a later time may have ended it.
    revoked_at: Option<UnixTime>,
    /// Whether a use that was taken here was the last one, and the feed has yet to report it.
    untold: bool,
}

/// The effect of a write through this list on a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Write {
    /// The key was listed.
    Lists(Listed, UnixTime),
    /// All uses of the token are taken. `own` says whether this write took the last use.
    UsesUp { until: Option<UnixTime>, own: bool },
    /// The key was lifted.
    Lifts(UnixTime),
    /// A use was returned.
    Frees,
    /// The effect is unknown; only the store knows it.
    Unknown,
}

/// The result of a look-up in the mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Nothing,
    Listed(Listed),
    /// Only the store knows the status.
    Ask,
}

/// Writes that the store acknowledged to this list, but that are missing from its feed.
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

    /// Returns how many entries fit without growing.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.packed.capacity()
    }

    /// Returns whether the shard has any state of the key.
    pub(super) fn knows(&self, key: &KeyDigest) -> bool {
        self.own.contains_key(key) || !self.known(key).is_empty()
    }

    pub(super) fn look(&self, key: &KeyDigest) -> Look {
        if !self.own.is_empty() && self.own.get(key).is_some_and(|own| own.ask) {
            return Look::Ask;
        }
        self.listed(key).map_or(Look::Nothing, Look::Listed)
    }

    /// Returns how the key is listed, as far as this list knows.
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

    /// Applies a change of the feed.
    pub(super) fn follow(&mut self, change: &Change) {
        let key = change.key();
        if let Some(own) = self.own.get_mut(key) {
            own.feed.apply(change);
            let tells_of_uses = matches!(change, Change::Returned { .. } | Change::UsedUp { .. });
            own.untold &= !tells_of_uses;
            return;
        }
        let mut state = self.known(key);
        state.apply(change);
        self.put(key, state);
    }

    /// Applies a write through this list, after it is durable in the store.
    pub(super) fn write(&mut self, key: &KeyDigest, write: Write, number: u64) {
        let before = self.known(key);
        let mut state = before;
        let own = self.own.entry(*key).or_insert(Own {
            number,
            feed: before,
            ask: false,
            revoked_at: None,
            untold: false,
        });
        own.number = number;
        match write {
            Write::Lists(listed, at) => {
                own.revoked_at = own.revoked_at.max(Some(at));
                // As the store does: later than any lift, even if this node's clock is behind.
                let at = state.lifted.map_or(at, |lifted| at.max(lifted.at));
                state.apply(&Change::Listed {
                    key: *key,
                    listed,
                    at,
                });
            }
            Write::UsesUp { until, own: won } => {
                // After `ask` was set, the use may have been returned. Its absence from the feed is
                // then no loss.
                own.untold |= won && !own.ask;
                state.apply(&Change::UsedUp { key: *key, until });
            }
            Write::Lifts(at) => {
                own.ask = true;
                if let Some(revoked) = state.revoked {
                    let after = UnixTime::from_secs(revoked.at.as_secs().saturating_add(1));
                    let (at, until) = (at.max(after), revoked.listed.until());
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

    /// Settles the writes before the write `number`, for which a call of the feed began later: the
    /// state of the feed becomes that of the key. Calls `changed` for each key.
    ///
    /// If the call is `complete`, it has returned everything. An acknowledged write that it does
    /// not contain is then added to `lost`.
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
            // The feed has neither the revocation that was acknowledged here nor a later lift. If
            // the call is complete, the store has lost the revocation; either way it stays in
            // force.
            let untold = own.revoked_at.filter(|at| {
                let lifted_before = own.feed.lifted.is_none_or(|lifted| lifted.at <= *at);
                own.feed.revoked.is_none() && lifted_before
            });
            if let (Some(at), Some(revoked)) = (untold, here.revoked) {
                state.revoked = Some(revoked);
                if complete {
                    let listed = revoked.listed;
                    lost.changes.push(Change::Listed { key, listed, at });
                }
            }
            if complete && own.untold && own.feed.used_up.is_none() {
                lost.taken.push(key);
            }
            self.put(&key, state);
            changed(&key);
        }
        self.own.shrink_to(64);
    }

    /// Takes over from `old` what a load doesn't return: lifts, and the writes since the write
    /// `number`.
    ///
    /// A load returns only what is listed. But the lifts are needed to write them back to a store
    /// that loses entries later. Writes since `number` may be missing from the loaded pages.
    pub(super) fn replace(&mut self, old: &mut Self, number: u64) {
        for (key, before) in &old.apart {
            let Some(lifted) = before.lifted else {
                continue;
            };
            let mut state = self.known(key);
            let stands = state.revoked.is_none_or(|revoked| revoked.at >= lifted.at);
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

    /// Drops the pending local writes, when no follower reads the feed any more.
    pub(super) fn forget_own(&mut self) {
        self.own = Map::default();
    }

    /// Drops what expired before a time.
    pub(super) fn forget(&mut self, before: UnixTime) {
        self.packed
            .retain(|_, packed| !retention::ended_before(Some(packed.until()), before));
        self.apart.retain(|_, state| {
            state.forget(before);
            !state.is_empty()
        });
        give_room_back(&mut self.packed);
        give_room_back(&mut self.apart);
    }

    /// Returns the changes to write back to a store that has lost entries.
    pub(super) fn changes(&self) -> Vec<Change> {
        self.states()
            .flat_map(|(key, state)| state.changes(key))
            .collect()
    }

    /// Returns the revocations and lifts that a freshly loaded shard doesn't contain. Writes that
    /// are still pending here are left out, and so are used-up tokens: their uses may have been
    /// returned.
    pub(super) fn missing_from(&self, loaded: &Self) -> Vec<Change> {
        let missing = |(key, mut state): (KeyDigest, State)| {
            let there = loaded.known(&key);
            state.used_up = None;
            state.lifted.take_if(|lifted| there.lifted == Some(*lifted));
            state.revoked.take_if(|revoked| {
                let lists = |other: Revoked| other.listed.longer(revoked.listed) == other.listed;
                let lifts = |lifted: Lifted| lifted.at > revoked.at;
                there.revoked.is_some_and(lists) || there.lifted.is_some_and(lifts)
            });
            state.changes(key)
        };
        self.states()
            .filter(|(key, _)| !self.own.contains_key(key))
            .flat_map(missing)
            .collect()
    }

    fn states(&self) -> impl Iterator<Item = (KeyDigest, State)> {
        let packed = self.packed.iter().map(|(key, one)| (*key, one.state()));
        packed.chain(self.apart.iter().map(|(key, state)| (*key, *state)))
    }
}

fn give_room_back<T>(map: &mut Map<T>) {
    if map.len() < map.capacity() / 4 {
        map.shrink_to(2 * map.len());
    }
}

/// A hasher that returns the last eight bytes of a key, which is already half of a SHA-256. The
/// first bytes choose the shard, so within a shard they hardly differ.
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

    /// Ignores the length, which is always the same.
    fn write_usize(&mut self, _: usize) {}
}
