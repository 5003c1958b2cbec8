//! The [`IssuedTokenStore`] trait, which keeps the opaque tokens that a server issues.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Cursor, StoreError};
use crate::{
    BoxFuture, ClaimNames, Claims, ClaimsError, KeyDigest, RevocationKey, TokenHash, UnixTime,
    retention,
};

/// The opaque tokens that a server has issued, each under the hash of the token.
///
/// It is optional ([`Store::issued_tokens`](super::Store::issued_tokens)). A row says what a token
/// means and never changes: a token is revoked through the revocation list, like any other, and no
/// [`revoke`](super::Store::revoke), [`lift`](super::Store::lift) or
/// [`take_use`](super::Store::take_use) touches its row. Only [`Store::purge`](super::Store::purge)
/// deletes a row, once its [`retained_until`](IssuedToken::retained_until) has passed. A store in
/// which the server expires entries may delete it any time after that.
///
/// # Cancel safety
/// Every method may be dropped at any await point. An insert may then have taken effect or not.
pub trait IssuedTokenStore: Send + Sync {
    /// Stores a token, durably when it returns.
    ///
    /// The operation is atomic: of any number of concurrent calls with one hash, on any nodes, at most
    /// one succeeds.
    ///
    /// # Errors
    /// * [`StoreError::AlreadyIssued`] if there is a row with this hash, even an equal or an expired
    ///   one. That row is kept as it is.
    /// * [`StoreError::Full`] if the store has no room.
    /// * After [`Unavailable`](StoreError::Unavailable) and [`TimedOut`](StoreError::TimedOut) the
    ///   token may have been stored. The caller draws another token rather than repeat the call, so a
    ///   store that repeats it itself must not take its own row for another's.
    fn insert<'a>(&'a self, token: &'a IssuedToken) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Returns the row of a token. `None` if it was never issued, or is purged.
    ///
    /// The result reflects every insert that was acknowledged before the call, by any handle. A row
    /// that has expired is returned until it is purged; the caller checks its
    /// [`expires_at`](IssuedToken::expires_at).
    ///
    /// # Errors
    /// As for [`Store::look_up`](super::Store::look_up). `None` is never returned for a row that could
    /// not be read.
    fn find<'a>(
        &'a self,
        hash: &'a TokenHash,
    ) -> BoxFuture<'a, Result<Option<IssuedToken>, StoreError>>;

    /// Returns one page of the tokens of a holder, which is the digest of a
    /// [subject's](IssuedToken::subject_key) or a [grant's](IssuedToken::grant_key) key: at most
    /// `at_most`, and at least one if any is left. Any other digest has no tokens.
    ///
    /// The store chooses the order, which does not change between pages. A token that is inserted or
    /// purged between two pages may or may not be returned; every other one is returned exactly
    /// once.
    ///
    /// # Errors
    /// As for [`find`](Self::find), and [`StoreError::ForeignCursor`] if `after` was not made by this
    /// store.
    fn page_of<'a>(
        &'a self,
        holder: &'a KeyDigest,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<IssuedTokenPage, StoreError>>;
}

/// One page of issued tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IssuedTokenPage {
    /// The tokens.
    pub tokens: Vec<IssuedToken>,
    /// The cursor for the next page. `None` after the last.
    pub next: Option<Cursor>,
}

/// What an opaque token means. The token itself is not kept.
///
/// Its serialized form is one JSON object, which later versions of this crate can read. A store may
/// keep that, beside the hash, the two holders and [`retained_until`](Self::retained_until).
///
/// ```
/// use tower_revoke_core::{IssuedToken, RevocationKey, TokenHash, TokenKind, UnixTime};
///
/// let hash = TokenHash::of(b"acme_7fk");
/// let at = UnixTime::from_secs(1_700_000_000);
/// let mut token = IssuedToken::new(hash, TokenKind::ACCESS, "https://id.example.com", "shop", at);
/// token.subject = Some("ann".to_owned());
/// token.expires_at = Some(UnixTime::from_secs(1_700_003_600));
/// let ann = RevocationKey::subject("https://id.example.com", "ann");
/// assert_eq!(token.subject_key(), Some(ann));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IssuedToken {
    /// The hash of the token, under which it is stored.
    pub hash: TokenHash,
    /// The kind of token.
    pub kind: TokenKind,
    /// The issuer (`iss`). Several may share a store.
    pub issuer: String,
    /// The client that the token was issued to.
    pub client: String,
    /// The subject. `None` if the client acts for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The scopes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The audiences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    /// The grant that the token goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// The session that the token belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// When it was issued.
    pub issued_at: UnixTime,
    /// The first second at which it is no longer valid. `None` means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixTime>,
    /// Digests of further keys whose revocation ends the token, besides those of its own fields: a
    /// token that another one stands for has the keys of that one here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyDigest>,
    /// Further claims, of the issuer's choice.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub claims: Map<String, Value>,
}

impl IssuedToken {
    /// Makes a token that never expires and belongs to no subject, grant or session.
    pub fn new(
        hash: TokenHash,
        kind: TokenKind,
        issuer: impl Into<String>,
        client: impl Into<String>,
        issued_at: UnixTime,
    ) -> Self {
        Self {
            hash,
            kind,
            issuer: issuer.into(),
            client: client.into(),
            subject: None,
            scopes: Vec::new(),
            audience: Vec::new(),
            grant: None,
            session: None,
            issued_at,
            expires_at: None,
            keys: Vec::new(),
            claims: Map::new(),
        }
    }

    /// Returns the key by which the tokens of its subject are listed and revoked.
    pub fn subject_key(&self) -> Option<RevocationKey> {
        let subject = self.subject.as_ref()?;
        Some(RevocationKey::subject(&self.issuer, subject))
    }

    /// Returns the key by which the tokens of its grant are listed and revoked.
    pub fn grant_key(&self) -> Option<RevocationKey> {
        let grant = self.grant.as_ref()?;
        Some(RevocationKey::grant(&self.issuer, grant))
    }

    /// Returns the claims that a service reads: `iss`, `client_id`, `sub`, `aud`, `scope`, `grant_id`,
    /// `sid`, `iat` and `exp` from the fields, and the further [`claims`](Self::claims). Of those, one
    /// with such a name is ignored, as is `nbf`. Unless it is an access token, `token_use` is its kind,
    /// by which others than its verifier tell that it is none. A further claim that issuers elsewhere use
    /// for the client or the scopes, such as `cid` and `scp`, means nothing here, but an `azp` must be the
    /// client.
    ///
    /// # Errors
    /// As for [`Claims::from_value`].
    pub fn to_claims(&self) -> Result<Claims, ClaimsError> {
        let mut all = self.claims.clone();
        for name in Self::CLAIMS_OF_FIELDS {
            all.remove(name);
        }
        let mut put = |name: &str, value: Value| all.insert(name.to_owned(), value);
        put("iss", self.issuer.as_str().into());
        put("client_id", self.client.as_str().into());
        put("iat", self.issued_at.as_secs().into());
        if self.kind != TokenKind::ACCESS {
            put("token_use", self.kind.as_str().into());
        }
        if !self.audience.is_empty() {
            put("aud", self.audience.clone().into());
        }
        if !self.scopes.is_empty() {
            put("scope", self.scopes.join(" ").into());
        }
        for (name, text) in [
            ("sub", &self.subject),
            ("grant_id", &self.grant),
            ("sid", &self.session),
        ] {
            if let Some(text) = text {
                put(name, text.as_str().into());
            }
        }
        if let Some(expires_at) = self.expires_at {
            put("exp", expires_at.as_secs().into());
        }
        Claims::from_value_with(Value::Object(all), &ClaimNames::of_issued())
    }

    /// The claims that the fields determine, so that no further claim may have their names.
    pub const CLAIMS_OF_FIELDS: [&str; 11] = [
        "iss",
        "client_id",
        "iat",
        "nbf",
        "aud",
        "scope",
        "sub",
        "grant_id",
        "sid",
        "exp",
        "token_use",
    ];

    /// Returns the holders under which stores list it: the digests of the keys of its subject and of its
    /// grant.
    pub fn holders(&self) -> impl Iterator<Item = KeyDigest> + use<> {
        let keys = [self.subject_key(), self.grant_key()];
        keys.into_iter().flatten().map(|key| key.digest())
    }

    /// Returns until when stores keep the row, see [`retention::of_token`]. `None` means for ever.
    pub fn retained_until(&self) -> Option<UnixTime> {
        retention::of_token(self.expires_at)
    }
}

/// The kind of a token: [`ACCESS`](Self::ACCESS), [`REFRESH`](Self::REFRESH), or a name of the
/// issuer's.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenKind(Cow<'static, str>);

impl TokenKind {
    /// An access token: `access`.
    pub const ACCESS: Self = Self(Cow::Borrowed("access"));
    /// A refresh token: `refresh`.
    pub const REFRESH: Self = Self(Cow::Borrowed("refresh"));

    /// Makes a kind by its name.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Stores outlive releases.
    #[test]
    fn the_serialized_form_stays_the_same_between_releases() {
        let hash = TokenHash::of(b"t");
        let at = UnixTime::from_secs(7);
        let mut token = IssuedToken::new(hash, TokenKind::ACCESS, "i", "shop", at);
        let least = json!({
            "hash": "e3b98a4da31a127d4bde6e43033f66ba274cab0eb7eb1c70ec41402bf6273dd8",
            "kind": "access", "issuer": "i", "client": "shop", "issued_at": 7,
        });
        assert_eq!(json!(token), least);
        assert_eq!(serde_json::from_value::<IssuedToken>(least).unwrap(), token);
        token.kind = TokenKind::new("ticket");
        token.subject = Some("ann".to_owned());
        token.scopes = vec!["a".to_owned()];
        token.audience = vec!["b".to_owned()];
        token.grant = Some("g".to_owned());
        token.session = Some("s".to_owned());
        token.expires_at = Some(UnixTime::from_secs(9));
        token.keys = vec![KeyDigest::from_bytes([1; 16])];
        token.claims.insert("tenant".to_owned(), json!("acme"));
        let most = json!({
            "hash": "e3b98a4da31a127d4bde6e43033f66ba274cab0eb7eb1c70ec41402bf6273dd8",
            "kind": "ticket", "issuer": "i", "client": "shop", "subject": "ann",
            "scopes": ["a"], "audience": ["b"], "grant": "g", "session": "s",
            "issued_at": 7, "expires_at": 9,
            "keys": [[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]],
            "claims": {"tenant": "acme"},
        });
        assert_eq!(json!(token), most);
        assert_eq!(serde_json::from_value::<IssuedToken>(most).unwrap(), token);
    }

    #[test]
    fn a_row_is_kept_for_the_margin_beyond_its_expiry() {
        let at = UnixTime::from_secs(7);
        let mut token = IssuedToken::new(TokenHash::of(b"t"), TokenKind::ACCESS, "i", "c", at);
        assert_eq!(token.retained_until(), None);
        token.expires_at = Some(UnixTime::from_secs(1_000));
        assert_eq!(token.retained_until(), Some(UnixTime::from_secs(1_300)));
    }
}
