//! The conversion of times and texts to and from what a database can store.

use tower_revoke_core::UnixTime;

/// Converts a time to a signed number; one beyond the range becomes the largest.
pub(crate) fn secs(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Converts an expiry to a signed number; one beyond the range becomes `None`, and never expires.
pub(crate) fn end(until: Option<UnixTime>) -> Option<i64> {
    until.and_then(|until| i64::try_from(until.as_secs()).ok())
}

/// Converts a stored number to a time.
pub(crate) fn time(secs: i64) -> UnixTime {
    UnixTime::from_secs(u64::try_from(secs).unwrap_or(0))
}

/// Escapes NUL, which PostgreSQL can't store, and the backslash; [`read`] reverses it.
pub(crate) fn written(text: &str) -> String {
    if text.contains(['\\', '\0']) {
        text.replace('\\', "\\\\").replace('\0', "\\0")
    } else {
        text.to_owned()
    }
}

/// Returns the length of a text once it is [`written`].
pub(crate) fn escaped_len(text: &str) -> usize {
    text.len() + text.matches(['\\', '\0']).count()
}

/// Returns the text that was [`written`].
pub(crate) fn read(text: String) -> String {
    if !text.contains('\\') {
        return text;
    }
    let mut read = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('0') => read.push('\0'),
                Some(other) => read.push(other),
                None => read.push('\\'),
            },
            other => read.push(other),
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip_exactly() {
        for text in ["", "a", "\0", "\\", "\\0", "\\\0", "a\\\\0\0\\", "é😀\0é"] {
            let kept = written(text);
            assert!(!kept.contains('\0'), "{kept:?}");
            assert_eq!(kept.len(), escaped_len(text));
            assert_eq!(read(kept), text);
        }
    }

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
