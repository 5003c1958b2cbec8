//! The table of packed states: sorted by key, with gaps, so that a question looks at memory once.
//!
//! A key stands at its home, which its hash tells in proportion, or a few places behind it, with no
//! gap between. A hash table with control bytes apart looks at memory in two places, and what does
//! not fit into a processor's cache costs as much as all the rest of a question.

use std::cmp::Ordering;

use tower_revoke_core::KeyDigest;

use super::packed::Packed;

/// So many of a hundred homes are taken at most, and about so many where the table is made anew.
const FULL: usize = 85;
const ROOMY: usize = 68;

/// So many homes are never worth giving back.
const FEW: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Table {
    /// A few more than there are homes, where the last ones are taken.
    slots: Vec<Packed>,
    homes: usize,
    len: usize,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: &KeyDigest) -> Option<&Packed> {
        let place = self.place(key).ok()?;
        self.slots.get(place)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Packed> {
        self.slots.iter().filter(|slot| !slot.is_empty())
    }

    /// Puts it in the place of whatever is there under its key.
    pub(super) fn insert(&mut self, key: &KeyDigest, packed: Packed) {
        let place = match self.place(key) {
            Ok(there) => {
                self.slots[there] = packed;
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
            .take_while(|slot| !slot.is_empty());
        let gap = place + taken.count();
        if gap == self.slots.len() {
            self.slots.reserve_exact(1);
            self.slots.push(Packed::EMPTY);
        }
        self.slots.copy_within(place..gap, place + 1);
        self.slots[place] = packed;
        self.len += 1;
    }

    pub(super) fn remove(&mut self, key: &KeyDigest) {
        let Ok(place) = self.place(key) else {
            return;
        };
        // Those behind it that are not at home come one nearer.
        let behind = self.slots[place + 1..].iter().zip(place + 1..);
        let astray =
            behind.take_while(|(slot, at)| !slot.is_empty() && self.home(slot.hash()) < *at);
        let end = place + 1 + astray.count();
        self.slots.copy_within(place + 1..end, place);
        self.slots[end - 1] = Packed::EMPTY;
        self.len -= 1;
    }

    /// Keeps what is wanted, and gives room back where most of it is free.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Packed) -> bool) {
        let mut next = 0;
        self.len = 0;
        for at in 0..self.slots.len() {
            let slot = std::mem::replace(&mut self.slots[at], Packed::EMPTY);
            if !slot.is_empty() && wanted(&slot) {
                // Never behind where it was.
                let place = self.home(slot.hash()).max(next);
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
            if slot.is_empty() {
                return Err(place);
            }
            match slot.hash().cmp(&hash).then_with(|| slot.cmp(key)) {
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
        let old = std::mem::take(&mut self.slots);
        // Those behind the last home seldom need more.
        self.slots.reserve_exact(self.homes + 16);
        self.slots.resize(self.homes, Packed::EMPTY);
        let mut next = 0;
        for slot in old.into_iter().filter(|slot| !slot.is_empty()) {
            let place = self.home(slot.hash()).max(next);
            if place >= self.slots.len() {
                self.slots.push(slot);
            } else {
                self.slots[place] = slot;
            }
            next = place + 1;
        }
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
                        map.insert(key.as_bytes()[1..].to_vec(), (key, end));
                    }
                    Step::Remove(key) => {
                        table.remove(&key);
                        map.remove(&key.as_bytes()[1..]);
                    }
                    Step::Retain(end) => {
                        let from = UnixTime::from_secs(1_700_000_000 + end);
                        table.retain(|one| one.until() >= from);
                        map.retain(|_, (_, its)| *its >= end);
                    }
                }
                prop_assert_eq!(table.len(), map.len());
                for (key, end) in map.values() {
                    let end = UnixTime::from_secs(1_700_000_000 + end);
                    prop_assert_eq!(table.get(key).map(Packed::until), Some(end));
                }
                let all: Vec<_> = table.iter().map(|one| one.key(0).as_bytes()[1..].to_vec()).collect();
                prop_assert_eq!(all, map.keys().cloned().collect::<Vec<_>>());
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
        let full = table.slots.capacity();
        assert!(full < 16_000, "{full} for 10,000");
        table.retain(|one| one.until() >= UnixTime::from_secs(1_700_000_000 + 9_900));
        assert_eq!(table.len(), 100);
        assert!(table.slots.capacity() < 200);
        for number in 9_900..10_000 {
            assert!(table.get(&key(number)).is_some());
        }
        assert!(table.get(&key(0)).is_none());
    }
}
