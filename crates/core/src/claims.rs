//! The claims of a verified token.

mod names;
mod read;

use std::{fmt, sync::OnceLock};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::{Map, Value, error::Category};

pub use self::names::ClaimNames;
use self::{
    names::{Named, text_of, words},
    read::{Members, Name, Shape},
};
use crate::UnixTime;

/// The claims of a verified token. The registered ones are parsed once.
///
/// A `NumericDate` may have a fraction (RFC 7519 §2). It is rounded so that the token is valid for a
/// shorter time: `exp` and `iat` down, `nbf` up.
///
/// # Examples
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
#[derive(Clone)]
pub struct Claims {
    /// The JSON of the token. Strings are slices of it: most are never used.
    json: String,
    members: Members,
    named: Named,
    /// All claims, parsed when one that is not a string is first used.
    all: OnceLock<Map<String, Value>>,
    expires_at: Option<UnixTime>,
    issued_at: Option<UnixTime>,
    not_before: Option<UnixTime>,
}

/// Why claims can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimsError {
    /// The claims are not a JSON object.
    #[error("the claims are not a JSON object")]
    NotAnObject,
    /// The claims are not a JSON object with unique names (RFC 7519 §4). Nothing of them is quoted.
    #[error(
        "the claims are not a JSON object with unique names ({kind:?}, line {line}, column {column})"
    )]
    Unreadable {
        /// The kind of error.
        kind: Category,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// A registered claim is not of the type in its RFC.
    #[error("the claim `{0}` is of the wrong type")]
    WrongType(String),
    /// Two claims that [`ClaimNames`] reads one thing from say different things.
    #[error("the claims `{0}` and `{1}` contradict each other")]
    Contradiction(String, String),
    /// The claims can't be deserialized as the type that the program chose.
    #[error("the claims do not fit the type asked for: {0}")]
    DoNotFit(#[source] serde_json::Error),
}

/// Claims that are strings wherever they appear (RFC 7519 §4.1, RFC 9068 §2.2, OpenID Connect).
const STRINGS: [Name; 5] = [
    Name::Issuer,
    Name::Subject,
    Name::ClientId,
    Name::AuthorizedParty,
    Name::Session,
];

impl Claims {
    /// Reads a JSON object, with the default [`ClaimNames`].
    ///
    /// # Errors
    /// [`ClaimsError::WrongType`] if one of `iss`, `sub`, `client_id`, `azp`, `sid`, `aud`, `exp`,
    /// `nbf` and `iat` is not of the type in its RFC, or a claim that [`ClaimNames`] names is not of
    /// the type that it says. A `jti` may be anything: one that is not a string doesn't identify the
    /// token, see [`TokenId::of_signing_input`](crate::TokenId::of_signing_input).
    /// [`ClaimsError::Contradiction`] if two claims name different clients or scopes.
    pub fn from_value(value: Value) -> Result<Self, ClaimsError> {
        Self::from_value_with(value, &ClaimNames::default())
    }

    /// Reads a JSON object as [`from_value`](Self::from_value) does, with other names of claims.
    ///
    /// # Errors
    /// Those of [`from_value`](Self::from_value).
    pub fn from_value_with(value: Value, names: &ClaimNames) -> Result<Self, ClaimsError> {
        if !value.is_object() {
            return Err(ClaimsError::NotAnObject);
        }
        let mut claims = claims_without_names(value.to_string())?.named_by(names)?;
        // The given values: a float that is printed and parsed may differ in its last digit.
        if let Value::Object(all) = value {
            claims.all = OnceLock::from(all);
        }
        Ok(claims)
    }

    /// Reads the payload of a token, with the default [`ClaimNames`].
    ///
    /// # Errors
    /// [`ClaimsError::Unreadable`] if it is not a JSON object with unique names, and the errors of
    /// [`from_value`](Self::from_value).
    pub fn from_json(json: String) -> Result<Self, ClaimsError> {
        claims_without_names(json)?.named_by(&ClaimNames::default())
    }

    // For verifiers that know the names only once they have read the issuer.
    #[doc(hidden)]
    pub fn named_by(mut self, names: &ClaimNames) -> Result<Self, ClaimsError> {
        self.named = names.find(&self.members, &self.json)?;
        Ok(self)
    }

    /// Returns a claim by its name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(&self.json, name)?;
        self.as_map().get(name)
    }

    /// Returns whether there is a claim of this name that is not null.
    pub fn has(&self, name: &str) -> bool {
        let shape = self.members.get(&self.json, name);
        shape.is_some_and(|shape| !matches!(shape, Shape::Null))
    }

    /// Returns all claims.
    pub fn as_map(&self) -> &Map<String, Value> {
        let read = || serde_json::from_str(&self.json);
        self.all
            .get_or_init(|| read().expect("it was parsed before, as an object"))
    }

    /// `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.text(Name::Issuer)
    }

    /// `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.text(Name::Subject)
    }

    /// The client that the token was issued to, from the claim that [`ClaimNames`] names.
    pub fn client(&self) -> Option<&str> {
        text_of(self.members.at(self.named.client?)?, &self.json)
    }

    /// The session, from the claim that [`ClaimNames`] names.
    pub fn session(&self) -> Option<&str> {
        text_of(self.members.at(self.named.session?)?, &self.json)
    }

    /// The grant, from the claim that [`ClaimNames`] names.
    pub fn grant(&self) -> Option<&str> {
        text_of(self.members.at(self.named.grant?)?, &self.json)
    }

    /// `jti`, if it is a string.
    pub fn jwt_id(&self) -> Option<&str> {
        self.text(Name::JwtId)
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

    /// Returns whether `audience` is in `aud`, which is a string or an array of strings.
    pub fn has_audience(&self, audience: &str) -> bool {
        match self.members.registered(Name::Audience) {
            Some(Shape::Text(text)) => text.of(&self.json) == audience,
            Some(Shape::Texts(texts)) => texts.iter().any(|text| text.of(&self.json) == audience),
            _ => false,
        }
    }

    /// Returns the scopes, from the claim that [`ClaimNames`] names: a space-separated string (RFC
    /// 9068 §2.2.3), or an array.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let shape = self.named.scopes.and_then(|at| self.members.at(at));
        shape.into_iter().flat_map(|shape| words(shape, &self.json))
    }

    /// Returns whether `scope` is one of the [`scopes`](Self::scopes).
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|held| held == scope)
    }

    /// Deserializes the claims as a type of the program's.
    ///
    /// # Errors
    /// [`ClaimsError::DoNotFit`].
    pub fn parse<C: DeserializeOwned>(&self) -> Result<C, ClaimsError> {
        C::deserialize(self.as_map()).map_err(ClaimsError::DoNotFit)
    }

    fn text(&self, name: Name) -> Option<&str> {
        text_of(self.members.registered(name)?, &self.json)
    }
}

/// Reads the payload of a token whose issuer is not known yet. It has no client, session, grant and
/// scopes until they are [named](Claims::named_by).
pub fn claims_without_names(json: String) -> Result<Claims, ClaimsError> {
    let members = Members::read(&json).map_err(|error| ClaimsError::Unreadable {
        kind: error.classify(),
        line: error.line(),
        column: error.column(),
    })?;
    for name in STRINGS {
        if !matches!(members.registered(name), None | Some(Shape::Text(_))) {
            return Err(wrong_type(name));
        }
    }
    let audience = members.registered(Name::Audience);
    if !matches!(audience, None | Some(Shape::Text(_) | Shape::Texts(_))) {
        return Err(wrong_type(Name::Audience));
    }
    Ok(Claims {
        expires_at: date(&members, Name::ExpiresAt, f64::floor)?,
        issued_at: date(&members, Name::IssuedAt, f64::floor)?,
        not_before: date(&members, Name::NotBefore, f64::ceil)?,
        all: OnceLock::new(),
        named: Named::default(),
        members,
        json,
    })
}

impl PartialEq for Claims {
    fn eq(&self, other: &Self) -> bool {
        self.as_map() == other.as_map()
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.as_map()).finish()
    }
}

/// Makes `Authenticated` an extractor without a type of the program's, too.
impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn wrong_type(name: Name) -> ClaimsError {
    ClaimsError::WrongType(name.written().to_owned())
}

fn date(
    members: &Members,
    name: Name,
    round: fn(f64) -> f64,
) -> Result<Option<UnixTime>, ClaimsError> {
    let number = match members.registered(name) {
        None => return Ok(None),
        Some(Shape::Number(number)) => number,
        Some(_) => return Err(wrong_type(name)),
    };
    let secs = match (number.as_u64(), number.as_f64()) {
        (Some(secs), _) => secs,
        // The cast saturates.
        (None, Some(secs)) if secs >= 0.0 => round(secs) as u64,
        _ => return Err(wrong_type(name)),
    };
    Ok(Some(UnixTime::from_secs(secs)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_registered_claim_is_found_by_its_name() {
        let claims = json!({
            "iss": "1", "sub": "2", "client_id": "3", "azp": "4", "sid": "5", "jti": "6",
            "aud": "7", "exp": 8, "iat": 9, "nbf": 10, "scope": "11", "scp": "12", "cid": "13",
            "appid": "14", "grant_id": "15",
        });
        let claims = claims_without_names(claims.to_string()).unwrap();
        for (at, name) in Name::ALL.into_iter().enumerate() {
            let number = (at + 1).to_string();
            match claims.members.registered(name).unwrap() {
                Shape::Number(date) => assert_eq!(date.to_string(), number),
                _ => assert_eq!(claims.text(name), Some(&*number), "{name:?}"),
            }
        }
        let dates = [claims.expires_at, claims.issued_at, claims.not_before];
        assert_eq!(dates.map(|date| date.unwrap().as_secs()), [8, 9, 10]);
    }

    #[test]
    fn dates_are_rounded_towards_a_shorter_life() {
        let claims = Claims::from_value(json!({"exp": 10.9, "iat": 5.9, "nbf": 5.1})).unwrap();
        assert_eq!(claims.expires_at(), Some(UnixTime::from_secs(10)));
        assert_eq!(claims.issued_at(), Some(UnixTime::from_secs(5)));
        assert_eq!(claims.not_before(), Some(UnixTime::from_secs(6)));
    }

    #[test]
    fn a_claim_of_the_wrong_type_rejects_the_token() {
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
    fn values_are_kept_unchanged() {
        // serde_json prints this float in a form that it reads back as the neighbouring float.
        let float = json!(3.720_352_557_724_134_3e137);
        let claims = Claims::from_value(json!({"sub": "ann", "weight": float})).unwrap();
        assert_eq!(claims.get("weight"), Some(&float));
    }

    #[test]
    fn claims_are_read_as_claims() {
        let claims = Claims::from_value(json!({"sub": "ann", "exp": 10.9})).unwrap();
        assert_eq!(claims.parse::<Claims>().unwrap(), claims);
        assert!(serde_json::from_value::<Claims>(json!({"sub": 7})).is_err());
    }

    #[test]
    fn scopes_are_a_space_separated_string_or_a_list() {
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
