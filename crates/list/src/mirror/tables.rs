//! The shards of the mirror.

use tower_revoke_core::{Change, KeyDigest, Listed};

use super::shard::Shard;

/// The relative sizes of eight shards.
///
/// A hash table doubles when it is 7/8 full, and then about half of it is free. Shards of equal
/// size would all double at about the same number of entries. The mirror would then need up to
/// twice the memory per entry, and grow in one burst. With shards of different sizes, at any number
/// of entries some have just doubled and others are nearly full.
const SHARES: [usize; 8] = [8, 9, 10, 11, 12, 13, 14, 15];

/// How many times the eight shards are repeated. With ten million entries, a shard doubles in at
/// most about 2 ms, for which its readers are blocked.
const ROUNDS: usize = 32;

/// The sum of the [`SHARES`].
const ROUND: usize = 92;

/// Maps each unit of a round to one of the eight shards.
const SHARD_OF_SHARE: [u8; ROUND] = {
    let mut shards = [0; ROUND];
    let (mut share, mut shard, mut end) = (0, 0_u8, SHARES[0]);
    while share < ROUND {
        if share == end {
            shard += 1;
            end += SHARES[shard as usize];
        }
        shards[share] = shard;
        share += 1;
    }
    shards
};

/// The tokens, sharded by the first bytes of their key, and the rules, which are few.
#[derive(Debug)]
pub(crate) struct Tables<T> {
    pub(super) tokens: Box<[T]>,
    pub(super) rules: T,
}

impl<T> Tables<T> {
    pub(super) fn new(table: impl Fn() -> T) -> Self {
        Self {
            tokens: (0..ROUNDS * SHARES.len()).map(|_| table()).collect(),
            rules: table(),
        }
    }

    pub(super) fn token(&self, key: &KeyDigest) -> &T {
        &self.tokens[shard_of(key)]
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.tokens.iter().chain([&self.rules])
    }
}

/// Tables that are being loaded and have no readers yet, so they need no locks.
impl Tables<Shard> {
    pub(crate) fn empty() -> Self {
        Self::new(Shard::default)
    }

    pub(crate) fn len(&self) -> u64 {
        self.all().map(|shard| shard.len() as u64).sum()
    }

    pub(crate) fn follow(&mut self, change: &Change) {
        let is_rule = is_rule(change) || self.rules.knows(change.key());
        self.put(change, is_rule);
    }

    /// Applies a change to the rules or to the tokens.
    pub(crate) fn put(&mut self, change: &Change, is_rule: bool) {
        let shard = match is_rule {
            true => &mut self.rules,
            false => &mut self.tokens[shard_of(change.key())],
        };
        shard.follow(change);
    }
}

pub(crate) fn is_rule(change: &Change) -> bool {
    matches!(
        change,
        Change::Listed {
            listed: Listed::Rule { .. },
            ..
        }
    )
}

fn shard_of(key: &KeyDigest) -> usize {
    let [first, second, ..] = *key.as_bytes();
    let share = (usize::from(u16::from_be_bytes([first, second])) * ROUND * ROUNDS) >> 16;
    let shard = usize::from(SHARD_OF_SHARE[share % ROUND]);
    share / ROUND * SHARES.len() + shard
}

#[cfg(test)]
mod tests {
    use tower_revoke_core::UnixTime;

    use super::*;

    fn key(number: u64) -> KeyDigest {
        let spread = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        KeyDigest::from_bytes((spread ^ spread.rotate_left(64)).to_be_bytes())
    }

    fn revoked(number: u64) -> Change {
        let until = Some(UnixTime::from_secs(1_700_000_000 + number));
        Change::Listed {
            key: key(number),
            listed: Listed::Revoked { until },
            at: UnixTime::from_secs(1_700_000_000),
        }
    }

    #[test]
    fn the_largest_shard_has_nearly_twice_the_keys_of_the_smallest() {
        let mut keys = [0; ROUNDS * SHARES.len()];
        for first in 0..=u16::MAX {
            let mut bytes = [0xff; 16];
            bytes[..2].copy_from_slice(&first.to_be_bytes());
            keys[shard_of(&KeyDigest::from_bytes(bytes))] += 1;
        }
        for shards in keys.chunks(SHARES.len()) {
            for (keys, share) in shards.iter().zip(SHARES) {
                let exact = share * 65_536 / (ROUND * ROUNDS);
                assert!((exact - 1..=exact + 2).contains(keys), "{keys}, {share}");
            }
        }
    }

    /// The shards double at different times, so the total of free entries stays near the average.
    #[test]
    fn the_tables_reserve_less_than_twice_their_entries() {
        let mut tables = Tables::empty();
        for number in 0..60_000 {
            tables.follow(&revoked(number));
            let len = number + 1;
            if len > 20_000 && len % 4_000 == 0 {
                assert_eq!(tables.len(), len);
                let room: usize = tables.all().map(Shard::room).sum();
                assert!(room as u64 * 10 < len * 16, "{room} for {len}");
            }
        }
    }

    #[test]
    fn expired_entries_free_their_space() {
        let mut tables = Tables::empty();
        for number in 0..20_000 {
            tables.follow(&revoked(number));
        }
        let Tables { tokens, .. } = &mut tables;
        for shard in tokens {
            shard.forget(UnixTime::from_secs(1_700_000_000 + 19_000));
        }
        assert_eq!(tables.len(), 1_000);
        let room: usize = tables.all().map(Shard::room).sum();
        assert!(room < 4_000, "{room} for 1,000");
    }
}
