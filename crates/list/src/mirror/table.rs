//! The table of packed states: sorted by key, with gaps, so that a question looks at memory once.
//!
//! A key stands at its home, which its hash tells in proportion, or a few places behind it, with no
//! gap between. A hash table with control bytes apart looks at memory in two places, and what does
//! not fit into a processor's cache costs as much as all the rest of a question.

use std::cmp::Ordering;

use tower_revoke_core::KeyDigest;

use super::{packed::Packed, slots::Slots};

/// So many of a hundred homes are taken at most, and about so many where the table is made anew.
const FULL: usize = 85;
const ROOMY: usize = 68;

/// So many homes are never worth giving back.
const FEW: usize = 64;

/// So many slots are behind the last home at first, for those who find it taken.
const BEHIND: usize = if cfg!(test) { 1 } else { 64 };

#[derive(Debug, Default)]
pub(super) struct Table {
    /// A few more than there are homes.
    slots: Slots,
    homes: usize,
    len: usize,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: &KeyDigest) -> Option<Packed> {
        let place = self.place(key).ok()?;
        self.slots.get(place).map(|slot| Packed(*slot))
    }

    /// Has the processor fetch the place where the key is looked for, while other things are done.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn fetch(&self, key: &KeyDigest) {
        if let Some(slot) = self.slots.get(self.home(Packed::hash_of(key))) {
            safe_arch::prefetch_t0(slot);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Packed> {
        let all = self.slots.iter().map(|slot| Packed(*slot));
        all.filter(|slot| !slot.is_empty())
    }

    /// Puts it in the place of whatever is there under its key.
    pub(super) fn insert(&mut self, key: &KeyDigest, packed: Packed) {
        let place = match self.place(key) {
            Ok(there) => {
                self.slots[there] = packed.0;
                return;
            }
            Err(_) if (self.len + 1) * 100 > self.homes * FULL => {
                self.resize(self.len + 1);
                self.place(key).unwrap_or_else(|gap| gap)
            }
            Err(place) => place,
        };
        let taken = self.slots[place..]
            .iter()
            .take_while(|slot| !Packed(**slot).is_empty());
        let gap = place + taken.count();
        if gap == self.slots.len() {
            self.make_room_behind();
        }
        self.slots.copy_within(place..gap, place + 1);
        self.slots[place] = packed.0;
        self.len += 1;
    }

    pub(super) fn remove(&mut self, key: &KeyDigest) {
        let Ok(place) = self.place(key) else {
            return;
        };
        // Those behind it that are not at home come one nearer.
        let behind = self.slots[place + 1..].iter().zip(place + 1..);
        let astray = behind.take_while(|(slot, at)| {
            let slot = Packed(**slot);
            !slot.is_empty() && self.home(slot.hash()) < *at
        });
        let end = place + 1 + astray.count();
        self.slots.copy_within(place + 1..end, place);
        self.slots[end - 1] = Packed::EMPTY.0;
        self.len -= 1;
    }

    /// Keeps what is wanted, and gives room back where most of it is free.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Packed) -> bool) {
        let mut next = 0;
        self.len = 0;
        for at in 0..self.slots.len() {
            let slot = std::mem::replace(&mut self.slots[at], Packed::EMPTY.0);
            let packed = Packed(slot);
            if !packed.is_empty() && wanted(&packed) {
                // Never behind where it was.
                let place = self.home(packed.hash()).max(next);
                self.slots[place] = slot;
                next = place + 1;
                self.len += 1;
            }
        }
        if self.homes > FEW && self.len < self.homes / 4 {
            self.resize(self.len);
        }
    }

    /// Where the key stands, or else where it would be put in.
    fn place(&self, key: &KeyDigest) -> Result<usize, usize> {
        let hash = Packed::hash_of(key);
        let home = self.home(hash);
        let slots = self.slots.get(home..).unwrap_or_default();
        for (slot, place) in slots.iter().zip(home..) {
            let packed = Packed(*slot);
            if packed.is_empty() {
                return Err(place);
            }
            let order = packed.hash().cmp(&hash);
            match order.then_with(|| packed.key().cmp(key)) {
                Ordering::Less => {}
                Ordering::Equal => return Ok(place),
                Ordering::Greater => return Err(place),
            }
        }
        Err(home + slots.len())
    }

    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.homes as u128) >> 64) as usize
    }

    /// Makes room for so many, and not for many more.
    fn resize(&mut self, len: usize) {
        self.homes = (len * 100).div_ceil(ROOMY).max(8);
        let old = std::mem::replace(&mut self.slots, Slots::empty(self.homes + BEHIND));
        let mut next = 0;
        for slot in old.iter() {
            let packed = Packed(*slot);
            if packed.is_empty() {
                continue;
            }
            let place = self.home(packed.hash()).max(next);
            if place == self.slots.len() {
                self.make_room_behind();
            }
            self.slots[place] = *slot;
            next = place + 1;
        }
    }

    /// Makes room for those who found the last home taken.
    fn make_room_behind(&mut self) {
        let behind = self.slots.len() - self.homes;
        let mut slots = Slots::empty(self.homes + 2 * behind.max(BEHIND));
        slots[..self.slots.len()].copy_from_slice(&self.slots);
        self.slots = slots;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use tower_revoke_core::{Listed, UnixTime};

    use super::*;
    use crate::mirror::state::{Said, State};

    fn packed(key: &KeyDigest, end: u64) -> Packed {
        let listed = Listed::Revoked {
            until: Some(UnixTime::from_secs(1_700_000_000 + end)),
        };
        let state = State {
            said: Some(Said {
                listed,
                at: UnixTime::EPOCH,
            }),
            ..State::default()
        };
        Packed::new(key, &state).expect("it fits")
    }

    /// Keys that crowd at a few homes: at the first, at the last, and here and there.
    fn keys() -> impl Strategy<Value = KeyDigest> {
        let crowded = (prop::sample::select(vec![0, 1, 128, 254, 255]), 0..4_u8);
        prop_oneof![
            crowded.prop_map(|(first, last)| {
                let mut bytes = [first; 16];
                bytes[15] = last;
                KeyDigest::from_bytes(bytes)
            }),
            any::<[u8; 16]>().prop_map(|mut bytes| {
                bytes[0] = 0;
                KeyDigest::from_bytes(bytes)
            }),
        ]
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(KeyDigest, u64),
        Remove(KeyDigest),
        Retain(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (keys(), 0..100_u64).prop_map(|(key, end)| Step::Insert(key, end)),
            4 => keys().prop_map(Step::Remove),
            1 => (0..100_u64).prop_map(Step::Retain),
        ];
        prop::collection::vec(step, 0..400)
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_does(steps in steps()) {
            let (mut table, mut map) = (Table::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Insert(key, end) => {
                        table.insert(&key, packed(&key, end));
                        map.insert((Packed::hash_of(&key), key), end);
                    }
                    Step::Remove(key) => {
                        table.remove(&key);
                        map.remove(&(Packed::hash_of(&key), key));
                    }
                    Step::Retain(end) => {
                        let from = UnixTime::from_secs(1_700_000_000 + end);
                        table.retain(|one| one.until() >= from);
                        map.retain(|_, its| *its >= end);
                    }
                }
                prop_assert_eq!(table.len(), map.len());
                for ((_, key), end) in &map {
                    let end = UnixTime::from_secs(1_700_000_000 + end);
                    prop_assert_eq!(table.get(key).map(|packed| packed.until()), Some(end));
                }
                let all: Vec<_> = table.iter().map(|one| one.key()).collect();
                prop_assert_eq!(all, map.keys().map(|(_, key)| *key).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn it_gives_room_back() {
        let mut table = Table::default();
        let key = |number: u64| {
            let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            let mut bytes = [0; 16];
            bytes[1..9].copy_from_slice(&spread);
            KeyDigest::from_bytes(bytes)
        };
        for number in 0..10_000 {
            table.insert(&key(number), packed(&key(number), number));
        }
        let full = table.slots.len();
        assert!(full < 16_000, "{full} for 10,000");
        table.retain(|one| one.until() >= UnixTime::from_secs(1_700_000_000 + 9_900));
        assert_eq!(table.len(), 100);
        assert!(table.slots.len() < 300);
        for number in 9_900..10_000 {
            assert!(table.get(&key(number)).is_some());
        }
        assert!(table.get(&key(0)).is_none());
    }
}
