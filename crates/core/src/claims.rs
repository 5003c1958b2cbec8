//! What a verified token says.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::{Map, Value};

use crate::UnixTime;

/// The claims of a verified token, with the registered ones read once.
///
/// A `NumericDate` may have a fraction (RFC 7519 §2); it is rounded so that the token lives
/// shorter: `exp` and `iat` down, `nbf` up.
///
/// ```
/// use serde_json::json;
/// use tower_revoke_core::Claims;
///
/// let claims = Claims::from_value(json!({
///     "iss": "https://id.example.com", "sub": "ann", "aud": ["orders"], "exp": 2_000_000_000,
///     "scope": "orders:read orders:write",
/// }))?;
/// assert_eq!(claims.subject(), Some("ann"));
/// assert!(claims.has_audience("orders"));
/// assert!(claims.has_scope("orders:write"));
/// # Ok::<(), tower_revoke_core::ClaimsError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    all: Map<String, Value>,
    expires_at: Option<UnixTime>,
    issued_at: Option<UnixTime>,
    not_before: Option<UnixTime>,
}

/// Claims that cannot be what they are said to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimsError {
    /// The claims are no JSON object.
    #[error("the claims are no JSON object")]
    NoObject,
    /// A registered claim has a value of another type than its RFC gives it.
    #[error("the claim `{0}` is of the wrong type")]
    WrongType(String),
    /// The claims do not fit the type that the program asked for.
    #[error("the claims do not fit the type asked for: {0}")]
    DoNotFit(#[source] serde_json::Error),
}

/// Claims that are strings wherever they appear (RFC 7519 §4.1, RFC 9068 §2.2, OpenID Connect).
const STRINGS: [&str; 5] = ["iss", "sub", "client_id", "azp", "sid"];

impl Claims {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// [`ClaimsError::WrongType`] if a claim on which the token's life depends is of another type
    /// than its RFC gives it: `iss`, `sub`, `client_id`, `azp`, `sid`, `aud`, `exp`, `nbf`, `iat`.
    /// A `jti` may be anything: what is no string names no token, see
    /// [`TokenId::of_signing_input`](crate::TokenId::of_signing_input).
    pub fn from_value(value: Value) -> Result<Self, ClaimsError> {
        let Value::Object(all) = value else {
            return Err(ClaimsError::NoObject);
        };
        for name in STRINGS {
            if all.get(name).is_some_and(|value| !value.is_string()) {
                return Err(ClaimsError::WrongType(name.to_owned()));
            }
        }
        let audience_fits = match all.get("aud") {
            None | Some(Value::String(_)) => true,
            Some(Value::Array(items)) => items.iter().all(Value::is_string),
            Some(_) => false,
        };
        if !audience_fits {
            return Err(ClaimsError::WrongType("aud".to_owned()));
        }
        Ok(Self {
            expires_at: date(&all, "exp", f64::floor)?,
            issued_at: date(&all, "iat", f64::floor)?,
            not_before: date(&all, "nbf", f64::ceil)?,
            all,
        })
    }

    /// Any claim, as it stands in the token.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.all.get(name)
    }

    /// All claims.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.all
    }

    /// `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.string("iss")
    }

    /// `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.string("sub")
    }

    /// `client_id`, or `azp` where there is none.
    pub fn client(&self) -> Option<&str> {
        self.string("client_id").or_else(|| self.string("azp"))
    }

    /// `sid`.
    pub fn session(&self) -> Option<&str> {
        self.string("sid")
    }

    /// `jti`, if it is a string.
    pub fn jwt_id(&self) -> Option<&str> {
        self.string("jti")
    }

    /// `exp`.
    pub fn expires_at(&self) -> Option<UnixTime> {
        self.expires_at
    }

    /// `iat`.
    pub fn issued_at(&self) -> Option<UnixTime> {
        self.issued_at
    }

    /// `nbf`.
    pub fn not_before(&self) -> Option<UnixTime> {
        self.not_before
    }

    /// Whether `audience` stands in `aud`, which is a string or a list of them.
    pub fn has_audience(&self, audience: &str) -> bool {
        match self.all.get("aud") {
            Some(Value::Array(items)) => items.iter().any(|item| item == audience),
            Some(value) => value == audience,
            None => false,
        }
    }

    /// The scopes: `scope`, a string of words (RFC 9068 §2.2.3) or a list; or `scp`, where there
    /// is no `scope`.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let value = self.all.get("scope").or_else(|| self.all.get("scp"));
        let (words, list) = match value {
            Some(Value::String(words)) => (words.as_str(), [].as_slice()),
            Some(Value::Array(list)) => ("", list.as_slice()),
            _ => ("", [].as_slice()),
        };
        words
            .split(' ')
            .filter(|word| !word.is_empty())
            .chain(list.iter().filter_map(Value::as_str))
    }

    /// Whether `scope` is among the [`scopes`](Self::scopes).
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|held| held == scope)
    }

    /// Reads the claims as a type of the program's.
    ///
    /// # Errors
    /// [`ClaimsError::DoNotFit`] if they are not of that type.
    pub fn parse<C: DeserializeOwned>(&self) -> Result<C, ClaimsError> {
        C::deserialize(&self.all).map_err(ClaimsError::DoNotFit)
    }

    fn string(&self, name: &str) -> Option<&str> {
        self.all.get(name)?.as_str()
    }
}

/// So that `Authenticated`, without a type of the program's, is an extractor too.
impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn date(
    all: &Map<String, Value>,
    name: &str,
    round: fn(f64) -> f64,
) -> Result<Option<UnixTime>, ClaimsError> {
    let Some(value) = all.get(name) else {
        return Ok(None);
    };
    let secs = match (value.as_u64(), value.as_f64()) {
        (Some(secs), _) => secs,
        // Saturates: what lies beyond 2^64 seconds is as good as that.
        (None, Some(secs)) if secs >= 0.0 => round(secs) as u64,
        _ => return Err(ClaimsError::WrongType(name.to_owned())),
    };
    Ok(Some(UnixTime::from_secs(secs)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dates_are_rounded_towards_a_shorter_life() {
        let claims = Claims::from_value(json!({"exp": 10.9, "iat": 5.9, "nbf": 5.1})).unwrap();
        assert_eq!(claims.expires_at(), Some(UnixTime::from_secs(10)));
        assert_eq!(claims.issued_at(), Some(UnixTime::from_secs(5)));
        assert_eq!(claims.not_before(), Some(UnixTime::from_secs(6)));
    }

    #[test]
    fn a_claim_of_the_wrong_type_refuses_the_token() {
        for claims in [
            json!({"sub": 7}),
            json!({"iss": ["a"]}),
            json!({"sid": null}),
            json!({"client_id": {}}),
            json!({"aud": 1}),
            json!({"aud": ["a", 1]}),
            json!({"exp": "soon"}),
            json!({"exp": -1}),
            json!({"iat": null}),
            json!({"nbf": true}),
            json!([]),
        ] {
            assert!(Claims::from_value(claims.clone()).is_err(), "{claims}");
        }
    }

    #[test]
    fn claims_are_read_as_claims() {
        let claims = Claims::from_value(json!({"sub": "ann", "exp": 10.9})).unwrap();
        assert_eq!(claims.parse::<Claims>().unwrap(), claims);
        assert!(serde_json::from_value::<Claims>(json!({"sub": 7})).is_err());
    }

    #[test]
    fn scopes_come_as_words_or_as_a_list() {
        for claims in [
            json!({"scope": "a b"}),
            json!({"scope": ["a", "b"]}),
            json!({"scp": "a b"}),
            json!({"scp": ["a", "b"]}),
        ] {
            let claims = Claims::from_value(claims).unwrap();
            assert_eq!(claims.scopes().collect::<Vec<_>>(), ["a", "b"]);
            assert!(!claims.has_scope("a b"));
        }
    }
}
