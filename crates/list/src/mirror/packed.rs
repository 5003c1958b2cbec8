//! The common state of a token in 7 bytes: revoked or spent, its `until`, and its time.

use tower_revoke_core::{Listed, UnixTime};

use super::state::{Said, State};

/// A packed state: 31 bits for `until` in seconds since [`START`], one bit for "spent", and 24 bits
/// for how many seconds before `until` the token was revoked.
///
/// With its key, an entry takes 23 bytes. A state that does not fit (no `until`, one after 2071, a
/// time more than 194 days before it, a lift) is kept unpacked in another table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed([u8; 7]);

/// Early in 2004. Older values of `until` need no packed form.
const START: u64 = 1 << 30;

const SPENT: u32 = 1 << 31;

/// Replaces the seconds before `until` if the time of the revocation is unknown.
const UNKNOWN: u32 = 0xff_ffff;

impl Packed {
    /// Packs a state. Returns `None` if it does not fit.
    pub(super) fn new(state: &State) -> Option<Self> {
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
        let [a, b, c, d] = (end | spent).to_le_bytes();
        let [e, f, g, _] = before.to_le_bytes();
        Some(Self([a, b, c, d, e, f, g]))
    }

    fn end(&self) -> u32 {
        let [a, b, c, d, ..] = self.0;
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
    use tower_revoke_core::KeyDigest;

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
    fn oversized_values_are_not_packed() {
        let last = START + u64::from(SPENT) - 1;
        for (state, fits) in [
            (revoked(Some(last), last), true),
            (revoked(Some(last + 1), last), false),
            (revoked(Some(START), 0), true),
            (revoked(Some(START - 1), 0), false),
            (revoked(None, last), false),
            // Revoked after its `until`, and at the largest distance before it.
            (revoked(Some(last - 1), last), false),
            (revoked(Some(last), last - u64::from(UNKNOWN) + 1), true),
            (revoked(Some(last), last - u64::from(UNKNOWN)), false),
            (State::default(), false),
        ] {
            let packed = Packed::new(&state);
            assert_eq!(packed.is_some(), fits, "{state:?}");
            if let Some(packed) = packed {
                assert_eq!(packed.state(), state);
            }
        }
        assert_eq!(size_of::<(KeyDigest, Packed)>(), 23);
    }

    proptest! {
        #[test]
        fn packed_values_round_trip(
            until in START..START + u64::from(SPENT),
            before in prop::option::of(0..u64::from(UNKNOWN)),
            spent in any::<bool>(),
        ) {
            let state = if spent {
                State { spent: Some(Some(UnixTime::from_secs(until))), ..State::default() }
            } else {
                revoked(Some(until), before.map_or(0, |before| until - before))
            };
            let packed = Packed::new(&state).expect("it fits");
            prop_assert_eq!(packed.state(), state);
            prop_assert_eq!(Some(packed.listed()), state.listed());
        }
    }
}
