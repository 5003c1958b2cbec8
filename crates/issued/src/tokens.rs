//! The tokens of one issuer in a store.

use std::{fmt, sync::Arc};

use tower_revoke_core::{
    BearerToken, Clock, Cursor, IssuedToken, IssuedTokenPage, IssuedTokenStore, RevocationKey,
    Store, StoreError, TokenHash, internal::issued_tokens_of,
};

use crate::{IssueError, IssuedTokensError, NewToken, OpaqueToken};

/// The opaque tokens of one issuer: issues them, and finds what was issued.
///
/// Clones share the store. Several issuers may share one store; none finds the tokens of another. See
/// [the example](crate#examples).
///
/// `RevocationEndpoint` of tower-revoke-endpoints takes it as a resolver.
#[derive(Clone)]
pub struct IssuedTokens(Arc<Inner>);

struct Inner {
    issuer: String,
    prefix: String,
    store: Arc<dyn IssuedTokenStore>,
    clock: Clock,
}

/// Configures [`IssuedTokens`].
#[must_use = "nothing is issued until it is built"]
pub struct IssuedTokensBuilder {
    issuer: String,
    prefix: String,
    store: Option<Arc<dyn IssuedTokenStore>>,
    clock: Clock,
}

/// The length of the longest prefix.
const MAX_PREFIX: usize = 32;

impl IssuedTokens {
    /// Configures the tokens of an issuer, which are kept in `store`. It is usually that of the
    /// revocation list.
    pub fn builder(issuer: impl Into<String>, store: impl Store) -> IssuedTokensBuilder {
        IssuedTokensBuilder {
            issuer: issuer.into(),
            prefix: String::new(),
            store: issued_tokens_of(store),
            clock: Clock::system(),
        }
    }

    /// Draws a token of 256 random bits, and stores what it means under its hash, durably when it
    /// returns.
    ///
    /// # Errors
    /// [`IssueError`]. Call it again for another token.
    pub async fn issue(&self, new: NewToken) -> Result<OpaqueToken, IssueError> {
        let token = OpaqueToken::draw(&self.0.prefix)?;
        let row = new.row(token.hash(), &self.0.issuer, self.0.clock.now())?;
        self.0.store.insert(&row).await.map_err(IssueError::Store)?;
        Ok(token)
    }

    /// Returns what a presented token means. `None` if this issuer didn't issue it, or it is purged.
    ///
    /// The token may have expired, or be revoked.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn find(&self, token: &BearerToken) -> Result<Option<IssuedToken>, StoreError> {
        if !self.has_form(token) {
            return Ok(None);
        }
        let found = self.0.store.find(&TokenHash::of(token.as_bytes())).await?;
        Ok(found.filter(|row| row.issuer == self.0.issuer))
    }

    /// Returns one page of the tokens of a subject, for operators, see
    /// [`IssuedTokenStore::page_of`]. Expired and revoked ones are among them.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn of_subject(
        &self,
        subject: &str,
        after: Option<&Cursor>,
        at_most: usize,
    ) -> Result<IssuedTokenPage, StoreError> {
        let subject = RevocationKey::subject(&self.0.issuer, subject).digest();
        self.0.store.page_of(&subject, after, at_most).await
    }

    /// Returns one page of the tokens of a grant, as [`of_subject`](Self::of_subject) does.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn of_grant(
        &self,
        grant: &str,
        after: Option<&Cursor>,
        at_most: usize,
    ) -> Result<IssuedTokenPage, StoreError> {
        let grant = RevocationKey::grant(&self.0.issuer, grant).digest();
        self.0.store.page_of(&grant, after, at_most).await
    }

    /// Returns the store.
    pub fn store(&self) -> &dyn IssuedTokenStore {
        &*self.0.store
    }

    /// Returns the name of the issuer.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Returns the clock.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Returns whether a token has the prefix and the length of the tokens that are issued here.
    pub(crate) fn has_form(&self, token: &BearerToken) -> bool {
        has_form(token, &self.0.prefix)
    }
}

/// Returns whether tokens may begin with this.
pub(crate) fn is_prefix(prefix: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    prefix.len() <= MAX_PREFIX && prefix.bytes().all(is_allowed)
}

/// Returns whether a token has this prefix and the length of those that are drawn.
pub(crate) fn has_form(token: &BearerToken, prefix: &str) -> bool {
    let drawn = token.as_bytes().strip_prefix(prefix.as_bytes());
    drawn.is_some_and(|drawn| drawn.len() == OpaqueToken::DRAWN)
}

impl IssuedTokensBuilder {
    /// Sets what every token begins with, so that secret scanners can find it. Empty by default.
    ///
    /// Tokens that were issued with another prefix are rejected.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the clock. Defaults to the system's. Give the list the same one.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`IssuedTokensError`] if something is missing or can't work.
    pub fn build(self) -> Result<IssuedTokens, IssuedTokensError> {
        if self.issuer.is_empty() {
            return Err(IssuedTokensError::MissingIssuer);
        }
        if !is_prefix(&self.prefix) {
            return Err(IssuedTokensError::Prefix(self.prefix));
        }
        Ok(IssuedTokens(Arc::new(Inner {
            issuer: self.issuer,
            prefix: self.prefix,
            store: self.store.ok_or(IssuedTokensError::Unsupported)?,
            clock: self.clock,
        })))
    }
}

impl fmt::Debug for IssuedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedTokens")
            .field("issuer", &self.0.issuer)
            .field("prefix", &self.0.prefix)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for IssuedTokensBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedTokensBuilder")
            .field("issuer", &self.issuer)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
