//! Which claims name the client, the session, the grant and the scopes.

use std::{borrow::Cow, collections::BTreeSet};

use super::{
    ClaimsError,
    read::{Members, Name, Shape},
};

/// Which claims name the client, the session, the grant and the scopes of an issuer's tokens.
///
/// By default, these claims are read:
///
/// | what | claims |
/// |---|---|
/// | client | `client_id` (RFC 9068), `azp` (OpenID Connect, Entra v2), `cid` (Okta), `appid` (Entra v1) |
/// | session | `sid` |
/// | grant | `grant_id` |
/// | scopes | `scope` (RFC 9068, or an array), `scp` (Okta, Entra) |
///
/// A setting replaces all claims of its row by one. Nothing is guessed: if a claim of a row is of
/// the wrong type, or two of them say different things, the claims are rejected. So an issuer that
/// uses one of these names for something else needs a setting.
///
/// # Examples
/// ```
/// use serde_json::json;
/// use tower_revoke_core::{ClaimNames, Claims};
///
/// let value = json!({ "iss": "https://id.example.com", "cid": 7, "app": "shop" });
/// assert!(Claims::from_value(value.clone()).is_err(), "`cid` is not a string");
///
/// let names = ClaimNames::default().client("app");
/// let claims = Claims::from_value_with(value, &names)?;
/// assert_eq!(claims.client(), Some("shop"));
/// # Ok::<(), tower_revoke_core::ClaimsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    client: Candidates,
    session: Candidates,
    grant: Candidates,
    scopes: Candidates,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Candidates {
    /// Claims whose places are known once the object is read.
    Known(&'static [Name]),
    /// One that has to be looked up.
    Other(Cow<'static, str>),
}

/// Where the claims that a [`ClaimNames`] names stand among the members.
#[derive(Clone, Copy, Default)]
pub(super) struct Named {
    pub(super) client: Option<usize>,
    pub(super) session: Option<usize>,
    pub(super) grant: Option<usize>,
    pub(super) scopes: Option<usize>,
}

impl Default for ClaimNames {
    fn default() -> Self {
        const CLIENT: &[Name] = &[
            Name::ClientId,
            Name::AuthorizedParty,
            Name::Cid,
            Name::AppId,
        ];
        Self {
            client: Candidates::Known(CLIENT),
            session: Candidates::Known(&[Name::Session]),
            grant: Candidates::Known(&[Name::Grant]),
            scopes: Candidates::Known(&[Name::Scope, Name::Scp]),
        }
    }
}

impl ClaimNames {
    /// Reads the client from this claim only.
    #[must_use]
    pub fn client(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.client = Candidates::one(name.into());
        self
    }

    /// Reads the session from this claim only.
    #[must_use]
    pub fn session(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.session = Candidates::one(name.into());
        self
    }

    /// Reads the grant from this claim only.
    #[must_use]
    pub fn grant(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.grant = Candidates::one(name.into());
        self
    }

    /// Reads the scopes from this claim only: a space-separated string, or an array of strings.
    #[must_use]
    pub fn scopes(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.scopes = Candidates::one(name.into());
        self
    }

    /// The claims that name what the fields of an issued token say. A further claim of the issuer's
    /// choice may have any other name, with any value. `azp` is a client wherever it appears.
    pub(crate) fn of_issued() -> Self {
        Self {
            client: Candidates::Known(&[Name::ClientId, Name::AuthorizedParty]),
            session: Candidates::Known(&[Name::Session]),
            grant: Candidates::Known(&[Name::Grant]),
            scopes: Candidates::Known(&[Name::Scope]),
        }
    }

    pub(super) fn find(&self, members: &Members, json: &str) -> Result<Named, ClaimsError> {
        let text = |candidates: &Candidates| candidates.find(members, json, text_of);
        Ok(Named {
            client: text(&self.client)?,
            session: text(&self.session)?,
            grant: text(&self.grant)?,
            scopes: self.scopes.find(members, json, |shape, json| {
                matches!(shape, Shape::Text(_) | Shape::Texts(_))
                    .then(|| words(shape, json).collect::<BTreeSet<_>>())
            })?,
        })
    }
}

impl Candidates {
    fn one(name: Cow<'static, str>) -> Self {
        match Name::ALL.iter().position(|known| known.written() == name) {
            Some(at) => Self::Known(&Name::ALL[at..=at]),
            None => Self::Other(name),
        }
    }

    /// Returns the place of the first that is there, if `read` reads the same from all of them.
    fn find<'a, T: PartialEq>(
        &self,
        members: &'a Members,
        json: &'a str,
        read: impl Fn(&'a Shape, &'a str) -> Option<T>,
    ) -> Result<Option<usize>, ClaimsError> {
        let (known, other) = match self {
            Self::Known(names) => (*names, None),
            Self::Other(name) => (&[][..], members.position(json, name)),
        };
        let known = known.iter();
        let mut found = known
            .filter_map(|name| members.registered_at(*name))
            .chain(other);
        let Some(first) = found.next() else {
            return Ok(None);
        };
        let name_of = |at| members.name(at, json).to_owned();
        let value_of = |at| {
            let value = members.at(at).and_then(|shape| read(shape, json));
            value.ok_or_else(|| ClaimsError::WrongType(name_of(at)))
        };
        let value = value_of(first)?;
        for at in found {
            if value_of(at)? != value {
                return Err(ClaimsError::Contradiction(name_of(first), name_of(at)));
            }
        }
        Ok(Some(first))
    }
}

pub(super) fn text_of<'a>(shape: &'a Shape, json: &'a str) -> Option<&'a str> {
    match shape {
        Shape::Text(text) => Some(text.of(json)),
        _ => None,
    }
}

/// Returns the words of a space-separated string, or the items of a list.
pub(super) fn words<'a>(shape: &'a Shape, json: &'a str) -> impl Iterator<Item = &'a str> {
    let (text, list) = match shape {
        Shape::Text(text) => (text.of(json), &[][..]),
        Shape::Texts(list) => ("", &list[..]),
        _ => ("", &[][..]),
    };
    text.split(' ')
        .filter(|word| !word.is_empty())
        .chain(list.iter().map(|text| text.of(json)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Claims;

    fn read(claims: &Value) -> Result<Claims, ClaimsError> {
        Claims::from_value(claims.clone())
    }

    #[test]
    fn the_client_is_found_where_issuers_put_it() {
        for name in ["client_id", "azp", "cid", "appid"] {
            assert_eq!(
                read(&json!({name: "shop"})).unwrap().client(),
                Some("shop"),
                "{name}"
            );
        }
        let agree = json!({"client_id": "shop", "azp": "shop", "cid": "shop", "appid": "shop"});
        assert_eq!(read(&agree).unwrap().client(), Some("shop"));
    }

    #[test]
    fn claims_that_contradict_each_other_are_rejected() {
        for (claims, first, second) in [
            (json!({"azp": "shop", "cid": "bank"}), "azp", "cid"),
            (json!({"cid": "bank", "azp": "shop"}), "azp", "cid"),
            (
                json!({"client_id": "", "appid": "bank"}),
                "client_id",
                "appid",
            ),
            (json!({"scope": "a b", "scp": ["a"]}), "scope", "scp"),
            (json!({"scope": "", "scp": "admin"}), "scope", "scp"),
        ] {
            let error = read(&claims).unwrap_err();
            let ClaimsError::Contradiction(a, b) = error else {
                panic!("{claims}: {error}");
            };
            assert_eq!((&*a, &*b), (first, second), "{claims}");
        }
        let agree = json!({"scope": "a b", "scp": ["b", "a", "a"]});
        assert!(read(&agree).unwrap().has_scope("b"));
    }

    #[test]
    fn a_named_claim_of_the_wrong_type_is_rejected() {
        for (claims, name) in [
            (json!({"cid": 7}), "cid"),
            (json!({"appid": ["shop"]}), "appid"),
            (json!({"client_id": "shop", "cid": null}), "cid"),
            (json!({"grant_id": 7}), "grant_id"),
            (json!({"scope": null}), "scope"),
            (json!({"scp": ["a", 1]}), "scp"),
            (json!({"scope": "a", "scp": {"a": true}}), "scp"),
        ] {
            let error = read(&claims).unwrap_err();
            assert!(
                matches!(&error, ClaimsError::WrongType(wrong) if wrong == name),
                "{error}"
            );
        }
    }

    #[test]
    fn a_setting_replaces_all_claims_of_its_row() {
        let value = json!({
            "client_id": "gateway", "cid": 7, "azp": "other", "app": "shop",
            "sid": "s1", "login": "l1", "grant_id": 7, "delegation": "d1",
            "scope": ["outer"], "scp": "outer", "rights": "read write",
        });
        assert!(read(&value).is_err());
        let names = ClaimNames::default()
            .client("app")
            .session("login")
            .grant("delegation")
            .scopes("rights");
        let claims = Claims::from_value_with(value.clone(), &names).unwrap();
        assert_eq!(claims.client(), Some("shop"));
        assert_eq!(claims.session(), Some("l1"));
        assert_eq!(claims.grant(), Some("d1"));
        assert_eq!(claims.scopes().collect::<Vec<_>>(), ["read", "write"]);

        let absent = names.clone().client("absent").scopes("absent");
        let claims = Claims::from_value_with(value.clone(), &absent).unwrap();
        assert_eq!((claims.client(), claims.scopes().count()), (None, 0));

        let known = names.client("azp").scopes("scp");
        let claims = Claims::from_value_with(value, &known).unwrap();
        assert_eq!(claims.client(), Some("other"));
        assert!(claims.has_scope("outer"));
    }
}
