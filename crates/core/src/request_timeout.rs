//! The bounds of the setting `request_timeout`, the same in every store.

use std::time::Duration;

/// The default of all stores.
pub const DEFAULT: Duration = Duration::from_secs(2);

/// The upper bound, so that it always fits into a point in time.
pub const MAX: Duration = Duration::from_secs(86_400);

/// A `request_timeout` that is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request_timeout is {0:?}; it must be longer than zero and at most a day")]
pub struct RequestTimeoutError(pub Duration);

/// Checks a `request_timeout`; for the builder of a store.
///
/// ```
/// use std::time::Duration;
/// use tower_revoke_core::request_timeout;
///
/// assert!(request_timeout::check(request_timeout::DEFAULT).is_ok());
/// assert!(request_timeout::check(Duration::ZERO).is_err());
/// ```
///
/// # Errors
/// [`RequestTimeoutError`] if it is zero or longer than [`MAX`].
pub const fn check(timeout: Duration) -> Result<(), RequestTimeoutError> {
    if timeout.is_zero() || timeout.as_nanos() > MAX.as_nanos() {
        return Err(RequestTimeoutError(timeout));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_bounds_is_rejected_with_its_value() {
        for timeout in [Duration::from_nanos(1), DEFAULT, MAX] {
            assert_eq!(check(timeout), Ok(()));
        }
        let too_long = MAX + Duration::from_nanos(1);
        for timeout in [Duration::ZERO, too_long, Duration::MAX] {
            let error = check(timeout).unwrap_err();
            assert!(error.to_string().contains(&format!("{timeout:?}")));
        }
    }
}
