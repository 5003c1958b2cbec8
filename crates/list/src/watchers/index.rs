//! The watches of one shard, found by the digests of the keys that concern their tokens.

use std::{cmp::Reverse, collections::BinaryHeap, iter, sync::Arc, task::Waker};

use hashbrown::HashTable;
use tower_revoke_core::{KeyDigest, Listed, TokenEnd, UnixTime, retention::has_ended};

use super::{Ended, state::State};

/// The end of a list of links.
const NONE: u32 = u32::MAX;

/// The unknown limit of a watch that never ends for it.
pub(super) const NEVER: u32 = u32::MAX;

/// Tells how a key is listed.
pub(crate) type Look<'a> = &'a dyn Fn(&KeyDigest) -> Option<Listed>;

/// A watch, as it is registered.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) state: Arc<State>,
    /// The earliest time of a rule that concerns the token.
    pub(super) concerned_since: UnixTime,
    /// When it was registered, in milliseconds of the clock's uptime.
    pub(super) since: u64,
    /// For how many milliseconds its token's status may be unknown, or [`NEVER`].
    pub(super) unknown_limit: u32,
    /// Whether the token has expired, which no lift takes back.
    pub(super) has_expired: bool,
}

impl Entry {
    /// Takes back that the token was revoked.
    fn revive(&self, ended: &mut Ended<'_>) {
        match self.has_expired {
            true => ended.end(&self.state, TokenEnd::Expired),
            false => self.state.revive(),
        }
    }
}

/// A watch in its place. Its links to keys are `links..links + keys`.
#[derive(Debug)]
struct Slot {
    entry: Option<Entry>,
    /// Changes with each entry, so that the expiry of an earlier one is recognised.
    generation: u32,
    links: u32,
    keys: u32,
}

/// One key of one watch, in the list of all watches of that key.
#[derive(Clone, Copy, Debug)]
struct Link {
    key: u32,
    slot: u32,
    previous: u32,
    next: u32,
}

#[derive(Debug)]
struct Key {
    digest: KeyDigest,
    /// The first link. `NONE` if the place is free.
    first: u32,
}

/// The links of a watch lie side by side, and tables refer to each other by position: with a pointer
/// and an allocation for each, 100,000 streams would take several times the memory.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: Vec<Slot>,
    free_slots: Vec<u32>,
    links: Vec<Link>,
    /// The free runs of links, by their length.
    free_links: Vec<Vec<u32>>,
    keys: Vec<Key>,
    free_keys: Vec<u32>,
    by_digest: HashTable<u32>,
    /// When tokens expire, with the slot and the generation of the watch. Some entries are of watches
    /// that are gone.
    expiries: BinaryHeap<Reverse<(UnixTime, u32, u32)>>,
    /// How often a watch was told that it is revoked.
    pub(super) revoked: u64,
}

fn hash(digest: &KeyDigest) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

fn position(len: usize) -> u32 {
    u32::try_from(len).expect("there are fewer than four billion watches")
}

fn concerns(listed: Listed, concerned_since: UnixTime) -> bool {
    match listed {
        Listed::Spent { .. } => false,
        Listed::Rule {
            issued_at_or_before,
            ..
        } => concerned_since <= issued_at_or_before,
        // A kind of listing that this version doesn't know fails closed.
        _ => true,
    }
}

impl Index {
    /// Takes the wakers of all watches.
    pub(super) fn wakers(&self) -> impl Iterator<Item = Waker> {
        let entries = self.slots.iter().filter_map(|slot| slot.entry.as_ref());
        entries.filter_map(|entry| entry.state.take_waker())
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free_slots.len()
    }

    /// Adds a watch of a token with these keys. Returns its slot.
    pub(super) fn insert(
        &mut self,
        entry: Entry,
        digests: &[KeyDigest],
        usable_until: Option<UnixTime>,
    ) -> u32 {
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                entry: None,
                generation: 0,
                links: 0,
                keys: 0,
            });
            position(self.slots.len() - 1)
        });
        let links = self.room_for_links(digests.len());
        for (at, digest) in digests.iter().enumerate() {
            let link = links + position(at);
            let key = self.key_of(digest);
            let next = std::mem::replace(&mut self.keys[key as usize].first, link);
            if next != NONE {
                self.links[next as usize].previous = link;
            }
            self.links[link as usize] = Link {
                key,
                slot,
                previous: NONE,
                next,
            };
        }
        let place = &mut self.slots[slot as usize];
        place.entry = Some(entry);
        place.links = links;
        place.keys = position(digests.len());
        if let Some(until) = usable_until {
            let generation = place.generation;
            self.forget_stale_expiries();
            self.expiries.push(Reverse((until, slot, generation)));
        }
        slot
    }

    fn room_for_links(&mut self, count: usize) -> u32 {
        if self.free_links.len() <= count {
            self.free_links.resize_with(count + 1, Vec::new);
        }
        self.free_links[count].pop().unwrap_or_else(|| {
            let links = position(self.links.len());
            let unused = Link {
                key: NONE,
                slot: NONE,
                previous: NONE,
                next: NONE,
            };
            self.links.extend(iter::repeat_n(unused, count));
            links
        })
    }

    /// Returns the place of a key, which is added if nobody has watched it.
    fn key_of(&mut self, digest: &KeyDigest) -> u32 {
        if let Some(key) = self.find(digest) {
            return key;
        }
        let added = Key {
            digest: *digest,
            first: NONE,
        };
        let key = match self.free_keys.pop() {
            Some(key) => {
                self.keys[key as usize] = added;
                key
            }
            None => {
                self.keys.push(added);
                position(self.keys.len() - 1)
            }
        };
        let keys = &self.keys;
        let rehash = |key: &u32| hash(&keys[*key as usize].digest);
        self.by_digest.insert_unique(hash(digest), key, rehash);
        key
    }

    fn find(&self, digest: &KeyDigest) -> Option<u32> {
        let is_it = |key: &u32| self.keys[*key as usize].digest == *digest;
        self.by_digest.find(hash(digest), is_it).copied()
    }

    /// Expiries can't be removed from the middle of a heap, so those of watches that are gone are
    /// dropped when they are the majority.
    fn forget_stale_expiries(&mut self) {
        if self.expiries.len() > 64 + 2 * self.len() {
            let slots = &self.slots;
            self.expiries.retain(|Reverse((_, slot, generation))| {
                slots[*slot as usize].generation == *generation
            });
        }
    }

    pub(super) fn remove(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        place.entry = None;
        place.generation = place.generation.wrapping_add(1);
        let (links, keys) = (place.links, place.keys);
        for link in links..links + keys {
            self.unlink(link);
        }
        self.free_links[keys as usize].push(links);
        self.free_slots.push(slot);
    }

    fn unlink(&mut self, link: u32) {
        let Link {
            key,
            previous,
            next,
            ..
        } = self.links[link as usize];
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
        if previous != NONE {
            self.links[previous as usize].next = next;
            return;
        }
        self.keys[key as usize].first = next;
        if next == NONE {
            let digest = self.keys[key as usize].digest;
            let found = self
                .by_digest
                .find_entry(hash(&digest), |found| *found == key);
            if let Ok(entry) = found {
                entry.remove();
            }
            self.free_keys.push(key);
        }
    }

    /// Applies how a key is listed. With `look`, watches that it no longer ends are revived, unless
    /// another of their keys ends them.
    pub(super) fn listed(
        &mut self,
        digest: &KeyDigest,
        listed: Option<Listed>,
        look: Option<Look<'_>>,
        ended: &mut Ended<'_>,
    ) {
        if let Some(key) = self.find(digest) {
            self.apply(key, listed, look, ended);
        }
    }

    fn apply(
        &mut self,
        key: u32,
        listed: Option<Listed>,
        look: Option<Look<'_>>,
        ended: &mut Ended<'_>,
    ) {
        let mut link = self.keys[key as usize].first;
        while link != NONE {
            let Link { slot, next, .. } = self.links[link as usize];
            link = next;
            let Some(entry) = &self.slots[slot as usize].entry else {
                continue;
            };
            let ends = listed.is_some_and(|listed| concerns(listed, entry.concerned_since));
            match entry.state.end() {
                None if ends => {
                    ended.end(&entry.state, TokenEnd::Revoked);
                    self.revoked += 1;
                }
                Some(TokenEnd::Revoked) if ends => self.revoked += 1,
                Some(TokenEnd::Revoked) => {
                    if let Some(look) = look
                        && !self.is_revoked(slot, look)
                    {
                        entry.revive(ended);
                    }
                }
                _ => {}
            }
        }
    }

    fn is_revoked(&self, slot: u32, look: Look<'_>) -> bool {
        let place = &self.slots[slot as usize];
        let since = place.entry.as_ref().map(|entry| entry.concerned_since);
        (place.links..place.links + place.keys).any(|link| {
            let key = &self.keys[self.links[link as usize].key as usize];
            let listed = look(&key.digest);
            listed
                .zip(since)
                .is_some_and(|(listed, since)| concerns(listed, since))
        })
    }

    /// Ends one watch, unless it has ended.
    pub(super) fn end(&mut self, slot: u32, end: TokenEnd, ended: &mut Ended<'_>) {
        let entry = self.slots[slot as usize].entry.as_ref();
        let Some(entry) = entry.filter(|entry| entry.state.end().is_none()) else {
            return;
        };
        ended.end(&entry.state, end);
        self.revoked += u64::from(end == TokenEnd::Revoked);
    }

    /// Applies how all keys are listed. With `revives`, watches that nothing ends any more are
    /// revived.
    pub(super) fn review(&mut self, look: Look<'_>, revives: bool, ended: &mut Ended<'_>) {
        for key in 0..self.keys.len() {
            let Key { digest, first } = &self.keys[key];
            if *first != NONE
                && let Some(listed) = look(digest)
            {
                self.apply(position(key), Some(listed), None, ended);
            }
        }
        for slot in 0..self.slots.len() {
            if revives
                && let Some(entry) = &self.slots[slot].entry
                && entry.state.end() == Some(TokenEnd::Revoked)
                && !self.is_revoked(position(slot), look)
            {
                entry.revive(ended);
            }
        }
    }

    /// Ends the watches of tokens that have expired.
    pub(super) fn expire(&mut self, now: UnixTime, ended: &mut Ended<'_>) {
        while let Some(Reverse((until, slot, generation))) = self.expiries.peek().copied() {
            if !has_ended(Some(until), now) {
                return;
            }
            self.expiries.pop();
            let place = &mut self.slots[slot as usize];
            if place.generation == generation
                && let Some(entry) = &mut place.entry
            {
                entry.has_expired = true;
                self.end(slot, TokenEnd::Expired, ended);
            }
        }
    }

    /// Ends the watches whose status was last known at an uptime, or when they were registered, if
    /// that is too long ago.
    pub(super) fn give_up(&mut self, now: u64, known: u64, ended: &mut Ended<'_>) {
        for slot in 0..self.slots.len() {
            if let Some(entry) = &self.slots[slot].entry
                && entry.unknown_limit != NEVER
                && now.saturating_sub(known.max(entry.since)) >= u64::from(entry.unknown_limit)
            {
                self.end(position(slot), TokenEnd::Unknown, ended);
            }
        }
    }

    /// Adds keys that are watched, up to `at_most` in all. Returns where to go on, or `None` after the
    /// last one.
    pub(super) fn digests(
        &self,
        mut from: usize,
        at_most: usize,
        digests: &mut Vec<KeyDigest>,
    ) -> Option<usize> {
        while digests.len() < at_most {
            let key = self.keys.get(from)?;
            digests.extend((key.first != NONE).then_some(key.digest));
            from += 1;
        }
        Some(from)
    }
}
