//! The number of rounds of tests that find more the longer they run.

const VARIABLE: &str = "TOWER_REVOKE_TEST_ROUNDS";

/// Returns `all` if the environment variable `TOWER_REVOKE_TEST_ROUNDS` is `all`, and `few` if it
/// is `few` or unset.
///
/// # Panics
/// If it is anything else.
pub fn rounds<N>(few: N, all: N) -> N {
    match std::env::var(VARIABLE).as_deref() {
        Ok("all") => all,
        Ok("few") | Err(std::env::VarError::NotPresent) => few,
        other => panic!("{VARIABLE} is {other:?}; it must be `few` or `all`"),
    }
}
