//! The client's own credentials, and the two places where a request may carry them.

use base64::{Engine, prelude::BASE64_STANDARD};
use form_urlencoded::byte_serialize;
use http::HeaderValue;
use zeroize::Zeroizing;

/// Credentials that can't be any client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The client id is empty.
    #[error("the client id is empty")]
    EmptyId,
    /// The client secret is empty, as it is where a setting was forgotten.
    #[error("the client secret is empty")]
    EmptySecret,
}

/// Erased from memory when dropped. What is written into a request is the HTTP client's.
pub(crate) struct Credentials {
    id: Zeroizing<String>,
    secret: Zeroizing<String>,
}

impl Credentials {
    pub(crate) fn new(
        id: Zeroizing<String>,
        secret: Zeroizing<String>,
    ) -> Result<Self, CredentialsError> {
        match (id.is_empty(), secret.is_empty()) {
            (true, _) => Err(CredentialsError::EmptyId),
            (_, true) => Err(CredentialsError::EmptySecret),
            _ => Ok(Self { id, secret }),
        }
    }

    /// `Basic`, each half form-urlencoded first (RFC 6749 §2.3.1): so a colon in the id is no end
    /// of it.
    pub(crate) fn basic(&self) -> HeaderValue {
        let mut pair = Zeroizing::new(String::with_capacity(
            3 * (self.id.len() + self.secret.len()) + 1,
        ));
        pair.extend(byte_serialize(self.id.as_bytes()));
        pair.push(':');
        pair.extend(byte_serialize(self.secret.as_bytes()));
        let mut header = Zeroizing::new(String::with_capacity(pair.len().div_ceil(3) * 4 + 6));
        header.push_str("Basic ");
        BASE64_STANDARD.encode_string(pair.as_bytes(), &mut header);
        let mut value = HeaderValue::from_str(&header).expect("base64 is visible ASCII");
        value.set_sensitive(true);
        value
    }

    /// As members of the form.
    pub(crate) fn form(&self) -> [(&'static str, &str); 2] {
        [("client_id", &self.id), ("client_secret", &self.secret)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(id: &str, secret: &str) -> Result<Credentials, CredentialsError> {
        Credentials::new(id.to_owned().into(), secret.to_owned().into())
    }

    fn decoded(id: &str, secret: &str) -> String {
        let credentials = new(id, secret).unwrap();
        let value = credentials.basic();
        assert!(value.is_sensitive());
        let encoded = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
        String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap()
    }

    #[test]
    fn rfc6749_2_3_1_both_halves_are_form_urlencoded_before_base64() {
        for (id, secret, expected) in [
            ("shop", "s3cret", "shop:s3cret"),
            ("a:b", "c:d", "a%3Ab:c%3Ad"),
            ("100%", "+", "100%25:%2B"),
            ("a b", " ", "a+b:+"),
            (
                "bücher",
                "пароль",
                "b%C3%BCcher:%D0%BF%D0%B0%D1%80%D0%BE%D0%BB%D1%8C",
            ),
            ("a&b=c", "\r\n", "a%26b%3Dc:%0D%0A"),
        ] {
            assert_eq!(decoded(id, secret), expected);
        }
    }

    #[test]
    fn empty_credentials_are_nobody_s() {
        let error = new("", "s").err();
        assert_eq!(error, Some(CredentialsError::EmptyId));
        let error = new("a", "").err();
        assert_eq!(error, Some(CredentialsError::EmptySecret));
    }
}
