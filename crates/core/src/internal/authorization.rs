//! Values of `Authorization` with secrets, zeroized when the last handle is dropped.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use form_urlencoded::byte_serialize;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::MalformedToken;

/// Returns the `Basic` credentials of a client. Its id and secret are form-urlencoded first (RFC
/// 6749 §2.3.1), so that a colon in the id doesn't end it.
pub fn basic_authorization(id: &str, secret: &str) -> HeaderValue {
    // Sized for the worst case of three characters a byte. Growing would copy the secret and leave
    // the old buffer unzeroized.
    let mut pair = Zeroizing::new(String::with_capacity(3 * (id.len() + secret.len()) + 1));
    pair.extend(byte_serialize(id.as_bytes()));
    pair.push(':');
    pair.extend(byte_serialize(secret.as_bytes()));
    let mut value = Zeroizing::new(String::with_capacity(6 + pair.len().div_ceil(3) * 4));
    value.push_str("Basic ");
    BASE64_STANDARD.encode_string(pair.as_bytes(), &mut value);
    sensitive(value).expect("base64 is made of characters that a header may have")
}

/// Returns the `Bearer` credentials with a token.
///
/// # Errors
/// If the token has characters that a header value can't have.
pub fn bearer_authorization(token: &str) -> Result<HeaderValue, MalformedToken> {
    let mut value = Zeroizing::new(String::with_capacity(7 + token.len()));
    value.push_str("Bearer ");
    value.push_str(token);
    sensitive(value).ok_or(MalformedToken::Characters)
}

/// Makes a sensitive header value that shares the text with all its clones. A copy would not be
/// zeroized.
fn sensitive(value: Zeroizing<String>) -> Option<HeaderValue> {
    struct Text(Zeroizing<String>);
    impl AsRef<[u8]> for Text {
        fn as_ref(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(Text(value))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6749_2_3_1_id_and_secret_are_form_urlencoded_first() {
        for (id, secret, expected) in [
            ("id", "secret", "id:secret"),
            ("a:b", "c:d", "a%3Ab:c%3Ad"),
            ("a b", "p%w+d&=", "a+b:p%25w%2Bd%26%3D"),
            ("é", "€", "%C3%A9:%E2%82%AC"),
            ("A-Z._*", "~", "A-Z._*:%7E"),
        ] {
            let value = basic_authorization(id, secret);
            let encoded = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
            let pair = BASE64_STANDARD.decode(encoded).unwrap();
            assert_eq!(String::from_utf8(pair).unwrap(), expected);
            assert!(value.is_sensitive());
        }
    }

    #[test]
    fn buffers_never_grow() {
        let (id, secret) = ("€".repeat(50), "%".repeat(50));
        let encoded: String = byte_serialize(id.as_bytes()).collect();
        assert!(encoded.len() <= 3 * id.len());
        let value = basic_authorization(&id, &secret);
        let pair = encoded.len() + 1 + 3 * secret.len();
        assert_eq!(value.len(), 6 + pair.div_ceil(3) * 4);
    }

    #[test]
    fn the_text_is_shared_not_copied() {
        let text = Zeroizing::new("Bearer abc".to_owned());
        let at = text.as_ptr();
        let value = sensitive(text).unwrap();
        assert_eq!(value.as_bytes().as_ptr(), at);
        assert_eq!(value.clone().as_bytes().as_ptr(), at);
    }

    #[test]
    fn a_token_that_fits_no_header_is_rejected() {
        assert_eq!(
            bearer_authorization("a\nb"),
            Err(MalformedToken::Characters)
        );
        assert_eq!(bearer_authorization("abc").unwrap(), "Bearer abc");
    }
}
