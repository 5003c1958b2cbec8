//! All that an error shows, for tests that look for secrets in it.

use std::error::Error;

/// Returns the `Display` and `Debug` texts of an error and of all its sources.
///
/// # Examples
/// ```
/// use tower_revoke_testing::error_report;
///
/// let error = "seven".parse::<u8>().expect_err("it is no number");
/// assert!(!error_report(&error).contains("seven"));
/// ```
pub fn error_report(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(|error| format!("{error} {error:?}\n")).collect()
}
