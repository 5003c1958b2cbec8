//! The conversion of times and texts to and from what a database can store.

pub(crate) use tower_revoke_core::internal::signed_time::{end, secs, time};

/// Returns a list of expiries, as the elements of an array in SQL or JSON.
pub(crate) fn expiries(untils: impl Iterator<Item = Option<i64>>) -> String {
    let elements = untils.map(|until| match until {
        Some(until) => until.to_string(),
        None => "null".to_owned(),
    });
    elements.collect::<Vec<_>>().join(",")
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
}
