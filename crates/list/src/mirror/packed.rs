//! The common state of a token in 7 bytes: how it is listed, its `until`, and its time.

use tower_revoke_core::{Listed, UnixTime};

use super::state::{Revoked, State};

/// A packed state: 31 bits for `until` in seconds since [`START`], one bit for "spent", and 24 bits
/// for how many seconds before `until` the token was revoked, or for "used up".
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

/// The same if there is no revocation, and all uses are taken.
const USED_UP: u32 = 0xff_fffe;

impl Packed {
    /// Packs a state. Returns `None` if it does not fit.
    pub(super) fn new(state: &State) -> Option<Self> {
        let State {
            revoked,
            used_up,
            lifted: None,
        } = *state
        else {
            return None;
        };
        let (until, spent, before) = match (revoked, used_up) {
            (Some(Revoked { listed, at }), None) => {
                let spent = match listed {
                    Listed::Revoked { .. } => 0,
                    Listed::Spent { .. } => SPENT,
                    _ => return None,
                };
                let until = listed.until()?;
                (until, spent, said_before(until, at)?)
            }
            (None, Some(until)) => (until?, SPENT, USED_UP),
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
        let [.., a, b, c] = self.0;
        let at = match u32::from_le_bytes([a, b, c, 0]) {
            USED_UP => {
                return State {
                    used_up: Some(listed.until()),
                    ..State::default()
                };
            }
            UNKNOWN => UnixTime::EPOCH,
            before => UnixTime::from_secs(self.until().as_secs() - u64::from(before)),
        };
        State {
            revoked: Some(Revoked { listed, at }),
            ..State::default()
        }
    }
}

fn said_before(until: UnixTime, at: UnixTime) -> Option<u32> {
    if at == UnixTime::EPOCH {
        return Some(UNKNOWN);
    }
    let before = u32::try_from(until.as_secs().checked_sub(at.as_secs())?).ok()?;
    (before < USED_UP).then_some(before)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tower_revoke_core::KeyDigest;

    use super::*;

    fn revoked(until: Option<u64>, at: u64) -> State {
        let until = until.map(UnixTime::from_secs);
        State {
            revoked: Some(Revoked {
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
            (revoked(Some(last), last - u64::from(USED_UP) + 1), true),
            (revoked(Some(last), last - u64::from(USED_UP)), false),
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
            before in prop::option::of(0..u64::from(USED_UP)),
            spent in any::<bool>(),
            is_used_up in any::<bool>(),
        ) {
            let mut state = revoked(Some(until), before.map_or(0, |before| until - before));
            let until = Some(UnixTime::from_secs(until));
            if is_used_up {
                state = State { used_up: Some(until), ..State::default() };
            } else if spent {
                state.revoked = state.revoked.map(|revoked| Revoked { listed: Listed::Spent { until }, ..revoked });
            }
            let packed = Packed::new(&state).expect("it fits");
            prop_assert_eq!(packed.state(), state);
            prop_assert_eq!(Some(packed.listed()), state.listed());
        }
    }
}
