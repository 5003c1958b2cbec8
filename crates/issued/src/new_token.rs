//! What is to be issued, and what is returned.

use std::{fmt, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use tower_revoke_core::{IssuedToken, KeyDigest, TokenHash, TokenKind, UnixTime};
use zeroize::Zeroizing;

use crate::IssueError;

/// A token to be [issued](crate::IssuedTokens::issue).
///
/// ```
/// use std::time::Duration;
/// use tower_revoke_issued::NewToken;
///
/// const HOUR: Duration = Duration::from_secs(3_600);
///
/// // One authorization, whose tokens end together.
/// let grant = "9b4f3a";
/// let access = NewToken::access("shop", HOUR).subject("ann").grant(grant).scope("orders:read");
/// let refresh = NewToken::refresh("shop", 24 * 30 * HOUR).subject("ann").grant(grant);
/// # let _ = (access, refresh);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a token is issued by `IssuedTokens::issue`"]
pub struct NewToken {
    kind: TokenKind,
    client: String,
    life: Duration,
    subject: Option<String>,
    scopes: Vec<String>,
    audience: Vec<String>,
    grant: Option<String>,
    session: Option<String>,
    keys: Vec<KeyDigest>,
    claims: Map<String, Value>,
}

impl NewToken {
    /// Makes an access token of a client, which expires `life` after it is issued.
    pub fn access(client: impl Into<String>, life: Duration) -> Self {
        Self::of_kind(TokenKind::ACCESS, client, life)
    }

    /// Makes a refresh token of a client, which expires `life` after it is issued.
    pub fn refresh(client: impl Into<String>, life: Duration) -> Self {
        Self::of_kind(TokenKind::REFRESH, client, life)
    }

    /// Makes a token of another kind, which verifiers must be told to
    /// [accept](crate::OpaqueTokenVerifierBuilder::kind).
    pub fn of_kind(kind: TokenKind, client: impl Into<String>, life: Duration) -> Self {
        Self {
            kind,
            client: client.into(),
            life,
            subject: None,
            scopes: Vec::new(),
            audience: Vec::new(),
            grant: None,
            session: None,
            keys: Vec::new(),
            claims: Map::new(),
        }
    }

    /// Sets the subject. By default there is none: the client acts for itself.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Adds a scope.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// Adds an audience.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience.push(audience.into());
        self
    }

    /// Sets the grant that the token goes back to.
    pub fn grant(mut self, grant: impl Into<String>) -> Self {
        self.grant = Some(grant.into());
        self
    }

    /// Sets the session that the token belongs to.
    pub fn session(mut self, session: impl Into<String>) -> Self {
        self.session = Some(session.into());
        self
    }

    /// Adds a claim of your choice.
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// Makes the revocation of a further key revoke this token too, see [`IssuedToken::keys`].
    pub fn key(mut self, key: KeyDigest) -> Self {
        self.keys.push(key);
        self
    }

    /// Returns the row of this token.
    pub(crate) fn row(
        self,
        hash: TokenHash,
        issuer: &str,
        now: UnixTime,
    ) -> Result<IssuedToken, IssueError> {
        check_scopes(&self.scopes)?;
        let mut names = self.claims.keys();
        if let Some(name) = names.find(|name| IssuedToken::CLAIMS_OF_FIELDS.contains(&&***name)) {
            return Err(IssueError::Reserved(name.clone()));
        }
        let mut row = IssuedToken::new(hash, self.kind, issuer, self.client, now);
        row.expires_at = Some(now.saturating_add(self.life));
        row.subject = self.subject;
        row.scopes = self.scopes;
        row.audience = self.audience;
        row.grant = self.grant;
        row.session = self.session;
        row.keys = self.keys;
        row.claims = self.claims;
        row.to_claims().map_err(IssueError::Claims)?;
        Ok(row)
    }
}

/// Checks that each is a `scope-token` of RFC 6749 §3.3.
pub(crate) fn check_scopes(scopes: &[String]) -> Result<(), IssueError> {
    let is_allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let is_scope = |scope: &String| !scope.is_empty() && scope.bytes().all(is_allowed);
    match scopes.iter().find(|scope| !is_scope(scope)) {
        Some(scope) => Err(IssueError::Scope(scope.clone())),
        None => Ok(()),
    }
}

/// An opaque token, which is returned once and not kept. `Debug` doesn't show it.
pub struct OpaqueToken(Zeroizing<String>);

impl OpaqueToken {
    /// The characters after the prefix: 256 bits in base64url.
    pub(crate) const DRAWN: usize = 43;

    /// Draws a token.
    pub(crate) fn draw(prefix: &str) -> Result<Self, IssueError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes)
            .map_err(|error| IssueError::NoRandomness(std::io::Error::other(error)))?;
        // With room for all: a string that grows leaves its earlier contents behind.
        let mut token = Zeroizing::new(String::with_capacity(prefix.len() + Self::DRAWN));
        token.push_str(prefix);
        BASE64_URL_SAFE_NO_PAD.encode_string(*bytes, &mut token);
        Ok(Self(token))
    }

    /// Returns the token itself. Anyone who has it can use it: hand it to the client, and keep it out
    /// of logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the hash under which it is stored.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.0.as_bytes())
    }
}

impl fmt::Debug for OpaqueToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpaqueToken(…)")
    }
}
