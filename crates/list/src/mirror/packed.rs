//! The common state of a token in 23 bytes: revoked or spent, until when, and since when.

use tower_revoke_core::{KeyDigest, Listed, UnixTime};

use super::{
    SHARD_BITS,
    state::{Said, State},
};

/// Ten million of them fit into 340 MB, with the room that their table leaves empty.
///
/// The key; the end as 31 bits of seconds since [`START`] below a bit for "spent"; 24 bits for how
/// long before the end it was said. Whatever does not fit (no end, an end after 2071, a longer life)
/// is kept apart, in full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed(pub(super) [u8; BYTES]);

pub(super) const BYTES: usize = 23;

/// Early in 2004: no token that ended before is worth a short form.
const START: u64 = 1 << 30;

const SPENT: u32 = 1 << 31;

/// Instead of a time before the end: nobody knows when it was said.
const UNKNOWN: u32 = 0xff_ffff;

impl Packed {
    /// A place where nothing is; no state comes out like this.
    pub(super) const EMPTY: Self = Self([0; BYTES]);

    pub(super) fn is_empty(&self) -> bool {
        self.0 == Self::EMPTY.0
    }

    /// `None` if it does not fit.
    pub(super) fn new(key: &KeyDigest, state: &State) -> Option<Self> {
        let (until, spent, before) = match *state {
            State {
                said:
                    Some(Said {
                        listed: Listed::Revoked { until: Some(until) },
                        at,
                    }),
                spent: None,
                lifted: None,
            } => (until, 0, said_before(until, at)?),
            State {
                said: None,
                spent: Some(Some(until)),
                lifted: None,
            } => (until, SPENT, UNKNOWN),
            _ => return None,
        };
        let end = u32::try_from(until.as_secs().checked_sub(START)?).ok()?;
        if end >= SPENT {
            return None;
        }
        let mut bytes = [0; BYTES];
        bytes[..16].copy_from_slice(key.as_bytes());
        bytes[16..20].copy_from_slice(&(end | spent).to_le_bytes());
        bytes[20..].copy_from_slice(&before.to_le_bytes()[..3]);
        let packed = Self(bytes);
        (!packed.is_empty()).then_some(packed)
    }

    /// Where it stands in its table: the key is a hash already, whose first bits say which table.
    pub(super) fn hash(&self) -> u64 {
        Self::hash_of(&self.key())
    }

    pub(super) fn hash_of(key: &KeyDigest) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = *key.as_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) << SHARD_BITS
    }

    pub(super) fn key(&self) -> KeyDigest {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0[..16]);
        KeyDigest::from_bytes(bytes)
    }

    fn end(&self) -> u32 {
        let [.., a, b, c, d, _, _, _] = self.0;
        u32::from_le_bytes([a, b, c, d])
    }

    pub(super) fn until(&self) -> UnixTime {
        UnixTime::from_secs(START + u64::from(self.end() & !SPENT))
    }

    pub(super) fn listed(&self) -> Listed {
        let until = Some(self.until());
        match self.end() & SPENT {
            0 => Listed::Revoked { until },
            _ => Listed::Spent { until },
        }
    }

    pub(super) fn state(&self) -> State {
        let listed = self.listed();
        if let Listed::Spent { until } = listed {
            return State {
                spent: Some(until),
                ..State::default()
            };
        }
        let [.., a, b, c] = self.0;
        let at = match u32::from_le_bytes([a, b, c, 0]) {
            UNKNOWN => UnixTime::EPOCH,
            before => UnixTime::from_secs(self.until().as_secs() - u64::from(before)),
        };
        State {
            said: Some(Said { listed, at }),
            ..State::default()
        }
    }
}

fn said_before(until: UnixTime, at: UnixTime) -> Option<u32> {
    if at == UnixTime::EPOCH {
        return Some(UNKNOWN);
    }
    let before = u32::try_from(until.as_secs().checked_sub(at.as_secs())?).ok()?;
    (before < UNKNOWN).then_some(before)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn revoked(until: Option<u64>, at: u64) -> State {
        let until = until.map(UnixTime::from_secs);
        State {
            said: Some(Said {
                listed: Listed::Revoked { until },
                at: UnixTime::from_secs(at),
            }),
            ..State::default()
        }
    }

    #[test]
    fn what_does_not_fit_is_not_packed() {
        let key = KeyDigest::from_bytes([7; 16]);
        let last = START + u64::from(SPENT) - 1;
        for (state, fits) in [
            (revoked(Some(last), last), true),
            (revoked(Some(last + 1), last), false),
            (revoked(Some(START), 0), true),
            (revoked(Some(START - 1), 0), false),
            (revoked(None, last), false),
            // Said after its end, and a whole life before it.
            (revoked(Some(last - 1), last), false),
            (revoked(Some(last), last - u64::from(UNKNOWN) + 1), true),
            (revoked(Some(last), last - u64::from(UNKNOWN)), false),
            (State::default(), false),
        ] {
            let packed = Packed::new(&key, &state);
            assert_eq!(packed.is_some(), fits, "{state:?}");
            if let Some(packed) = packed {
                assert_eq!(packed.state(), state);
            }
        }
        assert_eq!(size_of::<Packed>(), 23);
    }

    proptest! {
        #[test]
        fn what_is_packed_is_what_comes_out(
            bytes in any::<[u8; 16]>(),
            until in START..START + u64::from(SPENT),
            before in prop::option::of(0..u64::from(UNKNOWN)),
            spent in any::<bool>(),
        ) {
            let key = KeyDigest::from_bytes(bytes);
            let state = if spent {
                State { spent: Some(Some(UnixTime::from_secs(until))), ..State::default() }
            } else {
                revoked(Some(until), before.map_or(0, |before| until - before))
            };
            let packed = Packed::new(&key, &state).expect("it fits");
            prop_assert_eq!(packed.state(), state);
            prop_assert_eq!(packed.key(), key);
            prop_assert_eq!(packed.hash(), Packed::hash_of(&key));
            prop_assert_eq!(Some(packed.listed()), state.listed());
        }
    }
}
