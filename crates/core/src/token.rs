//! The credential as presented, and the one place that reads an `Authorization` value.

use std::fmt;

use http::HeaderValue;

/// A bearer token as it was presented.
///
/// It is a cheap handle on the header value that carried it, and so on all the memory that the server
/// has read the request's head into. Work that outlives the request keeps a
/// [`TokenCopy`](crate::TokenCopy) instead. `Debug` never shows its text, [`as_str`](Self::as_str) does.
///
/// ```
/// use http::HeaderValue;
/// use tower_revoke_core::BearerToken;
///
/// let header = HeaderValue::from_static("bearer abc.def.ghi");
/// let token = BearerToken::from_authorization(&header)?.expect("a bearer credential");
/// assert_eq!(token.as_str(), "abc.def.ghi");
/// assert_eq!(format!("{token:?}"), "BearerToken(11 bytes)");
///
/// let other = HeaderValue::from_static("Basic dXNlcjpwYXNz");
/// assert!(BearerToken::from_authorization(&other)?.is_none());
/// # Ok::<(), tower_revoke_core::MalformedToken>(())
/// ```
#[derive(Clone)]
pub struct BearerToken {
    value: HeaderValue,
    start: usize,
}

/// Why credentials are not `Bearer`, a space and a `b64token` (RFC 6750 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedToken {
    /// The scheme has no token.
    #[error("the Bearer scheme carries no token")]
    Empty,
    /// The token has a character that no bearer token may have, or the separator is not a space.
    #[error("the token is not of the form that RFC 6750 gives it")]
    Characters,
}

const SCHEME: &[u8] = b"bearer";

impl BearerToken {
    /// Reads an `Authorization` value. The scheme is case-insensitive (RFC 9110 §11.1). `Ok(None)` for
    /// another scheme.
    ///
    /// # Errors
    /// [`MalformedToken`] if the scheme is `Bearer` and no token follows it.
    pub fn from_authorization(value: &HeaderValue) -> Result<Option<Self>, MalformedToken> {
        let token = read_unchecked(value)?;
        token.map(Self::checked).transpose()
    }

    /// Makes the handle of a token that was presented by other means than `Authorization`.
    ///
    /// # Errors
    /// [`MalformedToken`] if `token` is not a `b64token`.
    pub fn new(token: &str) -> Result<Self, MalformedToken> {
        let value = HeaderValue::from_str(token).map_err(|_| MalformedToken::Characters)?;
        Self::at(value, 0).checked()
    }

    fn at(mut value: HeaderValue, start: usize) -> Self {
        value.set_sensitive(true);
        Self { value, start }
    }

    fn checked(self) -> Result<Self, MalformedToken> {
        check_characters(&self)?;
        Ok(self)
    }

    /// Returns the token itself. Anyone who has it can use it: keep it out of logs.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Returns the token itself, as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.value.as_bytes()[self.start..]
    }

    /// Returns the length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a token is never empty")]
    pub fn len(&self) -> usize {
        self.value.len() - self.start
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BearerToken({} bytes)", self.len())
    }
}

/// Reads an `Authorization` value as [`BearerToken::from_authorization`] does, but leaves the
/// characters of the token to [`check_characters`]: a token that was seen before needs no second
/// check.
pub fn read_unchecked(value: &HeaderValue) -> Result<Option<BearerToken>, MalformedToken> {
    let bytes = value.as_bytes();
    let Some((scheme, rest)) = bytes.split_at_checked(SCHEME.len()) else {
        return Ok(None);
    };
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Ok(None);
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    match rest.first() {
        None => Err(MalformedToken::Empty),
        Some(b' ') if spaces == rest.len() => Err(MalformedToken::Empty),
        Some(b' ') => Ok(Some(BearerToken::at(value.clone(), SCHEME.len() + spaces))),
        // A longer scheme that only starts alike, such as `BearerX`.
        Some(byte) if is_scheme_char(*byte) => Ok(None),
        Some(_) => Err(MalformedToken::Characters),
    }
}

/// Checks that a token is a `b64token`. Only one of [`read_unchecked`] may be none.
pub fn check_characters(token: &BearerToken) -> Result<(), MalformedToken> {
    let token = token.as_bytes();
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &token[..token.len() - padding];
    if body.is_empty() {
        return Err(MalformedToken::Empty);
    }
    // Without an early exit, so that the compiler can check many bytes in one step.
    if !body.iter().fold(true, |all, byte| all & is_b64token(*byte)) {
        return Err(MalformedToken::Characters);
    }
    Ok(())
}

/// `tchar` of RFC 9110 §5.6.2, of which schemes are made.
fn is_scheme_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a `b64token` may have this byte before its padding (RFC 6750 §2.1). Without branches, for
/// the same reason.
pub(crate) fn is_b64token(byte: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // `-`, `.`, `/`, and the digits.
    let is_digit_or_so = byte.wrapping_sub(b'-') <= b'9' - b'-';
    is_letter | is_digit_or_so | (byte == b'+') | (byte == b'_') | (byte == b'~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(value: &str) -> Result<Option<String>, MalformedToken> {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        BearerToken::from_authorization(&value)
            .map(|token| token.map(|token| token.as_str().to_owned()))
    }

    #[test]
    fn the_scheme_is_case_insensitive() {
        for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
            assert_eq!(read(&format!("{scheme} a.b")), Ok(Some("a.b".into())));
        }
    }

    #[test]
    fn other_schemes_are_no_bearer_credentials() {
        for value in [
            "",
            "Bear",
            "Basic YTpi",
            "BearerX abc",
            "Bearer-Like abc",
            "abc.def",
        ] {
            assert_eq!(read(value), Ok(None), "{value}");
        }
    }

    #[test]
    fn anything_but_a_token_is_malformed() {
        for (value, expected) in [
            ("Bearer", MalformedToken::Empty),
            ("Bearer   ", MalformedToken::Empty),
            ("Bearer ==", MalformedToken::Empty),
            ("Bearer\tabc", MalformedToken::Characters),
            ("Bearer a b", MalformedToken::Characters),
            ("Bearer a=b", MalformedToken::Characters),
            ("Bearer a,b", MalformedToken::Characters),
            ("Bearer \"abc\"", MalformedToken::Characters),
            ("Bearer,abc", MalformedToken::Characters),
        ] {
            assert_eq!(read(value), Err(expected), "{value}");
        }
        assert_eq!(
            BearerToken::from_authorization(&HeaderValue::from_bytes(b"Bearer \xff").unwrap())
                .unwrap_err(),
            MalformedToken::Characters
        );
    }

    #[test]
    fn the_allowed_characters_are_those_of_the_rfc() {
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_b64token(byte), expected, "{byte}");
        }
    }

    #[test]
    fn the_handle_is_sensitive_and_silent() {
        let token = BearerToken::new("secret").unwrap();
        assert!(token.value.is_sensitive());
        assert!(!format!("{token:?}").contains("secret"));
    }

    proptest! {
        #[test]
        fn a_well_formed_token_is_returned_unchanged(token in "[A-Za-z0-9._~+/-]{1,200}={0,2}") {
            prop_assert_eq!(read(&format!("Bearer {token}")), Ok(Some(token)));
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = BearerToken::from_authorization(&value);
            }
        }
    }
}
