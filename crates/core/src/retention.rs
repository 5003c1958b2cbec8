//! How long stores keep their entries.
//!
//! A store keeps an entry longer than until the token's `exp`. Each verifier accepts a token for a
//! leeway beyond its `exp`, and verifiers with different leeways may share a store. So a store
//! keeps everything until `exp` + [`MARGIN`], which no leeway exceeds, and adds no leeway itself.
//!
//! Every `until` in this crate is the first second at which the entry is no longer needed; `None`
//! means for ever. [`has_ended`] is the one comparison of it with the current time.

use std::time::Duration;

use crate::UnixTime;

/// How long stores keep the entries of a token beyond its `exp`: 5 minutes. No verifier's leeway
/// exceeds it.
pub const MARGIN: Duration = Duration::from_secs(300);

/// Returns until when stores keep the entries of a token that expires at `exp`. `None` means for
/// ever.
///
/// ```
/// use tower_revoke_core::{UnixTime, retention};
///
/// let exp = UnixTime::from_secs(1_700_000_000);
/// let until = retention::of_token(Some(exp));
/// assert_eq!(until, Some(UnixTime::from_secs(1_700_000_300)));
/// ```
pub const fn of_token(exp: Option<UnixTime>) -> Option<UnixTime> {
    match exp {
        Some(exp) => Some(exp.saturating_add(MARGIN)),
        None => None,
    }
}

/// Returns until when stores keep a rule over tokens that were issued at or before a time, if no
/// token lives longer than `max_token_life` from `iat` to `exp`. `None` means for ever.
///
/// The margin is added twice: once for the leeway on `exp`, and once because a rule also concerns
/// tokens that were issued up to a leeway later.
///
/// ```
/// use std::time::Duration;
/// use tower_revoke_core::{UnixTime, retention};
///
/// let time = UnixTime::from_secs(1_700_000_000);
/// let until = retention::of_rule(time, Some(Duration::from_secs(3_600)));
/// assert_eq!(until, Some(UnixTime::from_secs(1_700_004_200)));
/// assert_eq!(retention::of_rule(time, None), None);
/// ```
pub const fn of_rule(
    issued_at_or_before: UnixTime,
    max_token_life: Option<Duration>,
) -> Option<UnixTime> {
    match max_token_life {
        Some(life) => {
            let last_issued = issued_at_or_before.saturating_add(MARGIN);
            of_token(Some(last_issued.saturating_add(life)))
        }
        None => None,
    }
}

/// Returns whether an entry has expired at `now`. It expires at the second `until` itself; `None`
/// never expires.
///
/// ```
/// use tower_revoke_core::{UnixTime, retention::has_ended};
///
/// let now = UnixTime::from_secs(100);
/// assert!(!has_ended(Some(UnixTime::from_secs(101)), now));
/// assert!(has_ended(Some(UnixTime::from_secs(100)), now));
/// assert!(!has_ended(None, now));
/// ```
pub fn has_ended(until: Option<UnixTime>, now: UnixTime) -> bool {
    until.is_some_and(|until| now >= until)
}

/// Returns whether an entry expired before a time, so that a purge deletes it. An entry that
/// expires at that very second is kept.
///
/// ```
/// use tower_revoke_core::{UnixTime, retention::ended_before};
///
/// let before = UnixTime::from_secs(100);
/// assert!(ended_before(Some(UnixTime::from_secs(99)), before));
/// assert!(!ended_before(Some(UnixTime::from_secs(100)), before));
/// assert!(!ended_before(None, before));
/// ```
pub fn ended_before(until: Option<UnixTime>, before: UnixTime) -> bool {
    until.is_some_and(|until| until < before)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Claims, Revocation, TokenId, Use, UseId, VerifiedToken};

    const EXP: u64 = 1_700_000_000;

    fn token(leeway: Duration) -> VerifiedToken {
        let claims = Claims::from_value(json!({"iss": "i", "exp": EXP})).unwrap();
        VerifiedToken::new(TokenId::of_jwt("i", "1"), claims, leeway)
    }

    #[test]
    fn trap_43_an_expiry_is_the_first_second_of_being_expired() {
        let leeway = Duration::from_secs(30);
        let token = token(leeway);
        let usable_until = UnixTime::from_secs(EXP + 30);
        assert_eq!(token.usable_until(), Some(usable_until));
        for (now, is_over) in [(EXP + 29, false), (EXP + 30, true), (EXP + 31, true)] {
            let now = UnixTime::from_secs(now);
            assert_eq!(has_ended(token.usable_until(), now), is_over, "{now}");
        }
    }

    /// Tokens, revocations and uses compute the same retention.
    #[test]
    fn trap_43_a_token_is_kept_until_its_exp_and_the_margin_whatever_the_leeway() {
        let until = Some(UnixTime::from_secs(EXP + 300));
        for leeway in [0, 30, 300] {
            let token = token(Duration::from_secs(leeway));
            let exp = token.claims().expires_at();
            assert_eq!(token.retained_until(), until);
            assert_eq!(
                Revocation::of_token(token.id(), exp).retained_until(),
                until
            );
            let claim = Use::new(
                token.id(),
                UseId::from_bytes([1; 16]),
                std::num::NonZeroU32::MIN,
                exp,
            );
            assert_eq!(claim.until, until);
        }
    }

    #[test]
    fn trap_43_no_token_is_usable_for_longer_than_it_is_kept() {
        let token = token(Duration::from_secs(3_600));
        assert_eq!(token.usable_until(), token.retained_until());
        assert!(has_ended(
            token.usable_until(),
            UnixTime::from_secs(EXP + 300)
        ));
    }
}
