//! The bounds of numbers and times that are set.

use std::time::Duration;

/// The longest time of any setting, which can still be added to an `Instant`.
const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A setting that is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// A number is too small.
    #[error("{setting} is {given}; it must be at least {min}")]
    TooSmall {
        /// The setting.
        setting: &'static str,
        /// Its value.
        given: usize,
        /// The smallest value.
        min: usize,
    },
    /// A number is too large.
    #[error("{setting} is {given}; it must be at most {max}")]
    TooLarge {
        /// The setting.
        setting: &'static str,
        /// Its value.
        given: usize,
        /// The largest value.
        max: usize,
    },
    /// A time is zero, or longer than a year.
    #[error("{setting} is {given:?}; it must be longer than zero and at most {max:?}")]
    TimeOutOfBounds {
        /// The setting.
        setting: &'static str,
        /// Its value.
        given: Duration,
        /// The longest time.
        max: Duration,
    },
}

pub(crate) fn check_count(
    setting: &'static str,
    given: usize,
    min: usize,
) -> Result<(), SettingError> {
    if given < min {
        return Err(SettingError::TooSmall {
            setting,
            given,
            min,
        });
    }
    Ok(())
}

pub(crate) fn check_time(setting: &'static str, given: Duration) -> Result<(), SettingError> {
    if given.is_zero() || given > MAX_TIME {
        return Err(SettingError::TimeOutOfBounds {
            setting,
            given,
            max: MAX_TIME,
        });
    }
    Ok(())
}
