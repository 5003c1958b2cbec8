//! Names of headers, as servers read them that turn headers into variables.
//!
//! CGI, WSGI, Rack and PHP turn both `X-Forwarded-For` and `X_Forwarded_For` into
//! `HTTP_X_FORWARDED_FOR`, and some of them `X.Forwarded.For` too (RFC 3875 §4.1.18, RFC 9110 §17.10).

/// Whether such a server takes `name` for `known`. Both are in lower case.
pub(crate) fn reads_as(name: &str, known: &str) -> bool {
    name.len() == known.len() && begins_as(name, known)
}

/// Whether such a server sees `name` begin with `known`. Both are in lower case.
pub(crate) fn begins_as(name: &str, known: &str) -> bool {
    let mut pairs = name.bytes().zip(known.bytes());
    name.len() >= known.len() && pairs.all(|(name, known)| plain(name) == plain(known))
}

fn plain(byte: u8) -> u8 {
    match byte.is_ascii_alphanumeric() {
        true => byte,
        false => b'_',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn non_alphanumeric_characters_compare_equal() {
        for name in ["x-real-ip", "x_real_ip", "x_real-ip", "x.real~ip"] {
            assert!(reads_as(name, "x-real-ip"), "{name}");
            assert!(begins_as(name, "x-real-"), "{name}");
        }
        for name in ["x-real-ips", "x-real-i", "xreal-ip", "xxreal-ip", ""] {
            assert!(!reads_as(name, "x-real-ip"), "{name}");
        }
        assert!(begins_as("x_real_ips", "x-real-ip"));
        assert!(!begins_as("x-rea", "x-real-ip"));
    }
}
