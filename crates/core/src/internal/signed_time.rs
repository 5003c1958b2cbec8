//! Times as the signed numbers that databases store.

use crate::UnixTime;

/// Converts a time to a signed number; one beyond the range becomes the largest.
pub fn secs(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Converts an expiry to a signed number; one beyond the range becomes `None`, and never expires.
pub fn end(until: Option<UnixTime>) -> Option<i64> {
    until.and_then(|until| i64::try_from(until.as_secs()).ok())
}

/// Converts a stored number to a time; a negative one becomes [`UnixTime::EPOCH`].
pub fn time(secs: i64) -> UnixTime {
    UnixTime::from_secs(u64::try_from(secs).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distant_expiry_is_none_and_a_distant_time_is_capped() {
        let far = UnixTime::from_secs(u64::MAX);
        assert_eq!(end(Some(far)), None);
        assert_eq!(secs(far), i64::MAX);
        let near = UnixTime::from_secs(i64::MAX as u64);
        assert_eq!(end(Some(near)), Some(i64::MAX));
        assert_eq!(time(secs(near)), near);
    }
}
