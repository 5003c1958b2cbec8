//! What a list reads of a token's keys for each check.

use crate::{KeyDigest, UnixTime};

/// Spreads a time over 64 bits, so that a difference of seconds can't equal a few moves of a slot.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The parts of a token's keys that a list reads for each check, side by side: less memory is touched
/// than by reading the keys.
#[derive(Clone, Copy, Debug)]
pub struct KeyStamp {
    /// Sums up the names of all keys, and the earliest time of a rule that concerns the token.
    pub sum: u64,
    slots: [u16; KeyStamp::KEYS],
    /// 0 if there are more.
    count: u8,
}

impl KeyStamp {
    /// The largest number of keys of a token without rule claims.
    pub(crate) const KEYS: usize = 6;

    /// The last `further` keys may be those of other tokens.
    pub(crate) fn of(keys: &[KeyDigest], further: usize, concerned_since: UnixTime) -> Self {
        let mut slots = [0; Self::KEYS];
        let mut count = 0;
        if further == 0 && keys.len() <= Self::KEYS {
            for (slot, key) in slots.iter_mut().zip(keys) {
                *slot = slot_of(key);
                count += 1;
            }
        }
        // Twice, for a list looks at two slots of each.
        let twice = &keys[keys.len() - further..];
        let names = keys.iter().chain(twice).map(name_of);
        let since = concerned_since.as_secs().wrapping_mul(ODD);
        let sum = names.fold(since, u64::wrapping_add);
        Self { sum, slots, count }
    }

    /// Returns the slots of the keys, the token's own first. `None` if they are to be read from the keys
    /// themselves.
    pub fn slots(&self) -> Option<(u16, &[u16])> {
        let slots = self.slots.get(..usize::from(self.count))?;
        let (own, rules) = slots.split_first()?;
        Some((*own, rules))
    }
}

/// Returns the slot of a key.
pub fn slot_of(key: &KeyDigest) -> u16 {
    let [low, high, ..] = *key.as_bytes();
    u16::from_le_bytes([low, high])
}

/// Bytes of the key that its slot does not depend on.
fn name_of(key: &KeyDigest) -> u64 {
    let [_, _, a, b, c, d, e, f, g, h, ..] = *key.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
