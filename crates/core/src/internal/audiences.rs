//! The audiences that a verifier accepts.

/// Returns the audiences that a verifier accepts, of which none means any. `None` if the settings are
/// missing or contradict each other, or an audience is empty: one from an unset variable would match an
/// empty `aud`.
pub fn audiences_or_any(audiences: Vec<String>, any_audience: bool) -> Option<Vec<String>> {
    let is_empty = audiences.iter().any(String::is_empty);
    (!is_empty && audiences.is_empty() == any_audience).then_some(audiences)
}
