//! The port that finds out what a presented token is.

use std::fmt;

use tower_revoke_core::{
    BearerToken, BoxError, BoxFuture, Reason, Revocation, RevocationKey, TokenId, TokenVerifier,
    UnixTime,
};

/// Finds out what a presented token is: who issued it to whom, and what revoking it means.
///
/// A [`TokenVerifier`] resolves the tokens that it accepts, see
/// [`RevocationEndpoint::verifier`](crate::RevocationEndpoint::verifier). Implement this for tokens
/// that only their issuer can read, such as the refresh tokens of an authorization server beside
/// which the endpoint runs.
///
/// # Examples
/// ```
/// use std::collections::HashMap;
/// use tower_revoke_core::{BearerToken, BoxFuture, RevocationKey, TokenId, UnixTime};
/// use tower_revoke_endpoints::{ResolveError, ResolvedToken, TokenKind, TokenResolver};
///
/// const ISSUER: &str = "https://id.example.com";
///
/// struct Refresh { client: String, grant: String, exp: UnixTime }
/// struct RefreshTokens(HashMap<String, Refresh>);
///
/// impl TokenResolver for RefreshTokens {
///     fn resolve<'a>(
///         &'a self,
///         token: &'a BearerToken,
///     ) -> BoxFuture<'a, Result<Option<ResolvedToken>, ResolveError>> {
///         let resolved = self.0.get(token.as_str()).map(|refresh| {
///             let id = TokenId::of_opaque("refresh tokens", token.as_bytes());
///             let grant = RevocationKey::grant(ISSUER, &refresh.grant);
///             ResolvedToken::new(ISSUER, id, Some(refresh.exp))
///                 .client(&refresh.client)
///                 .kind(TokenKind::Refresh)
///                 .grant(grant, Some(refresh.exp))
///         });
///         Box::pin(std::future::ready(Ok(resolved)))
///     }
/// }
/// ```
pub trait TokenResolver: Send + Sync + 'static {
    /// Returns what the token is. `None` if it is unknown, malformed, expired or revoked.
    ///
    /// # Errors
    /// [`ResolveError`] if that can't be found out now. The caller gets a 503.
    fn resolve<'a>(
        &'a self,
        token: &'a BearerToken,
    ) -> BoxFuture<'a, Result<Option<ResolvedToken>, ResolveError>>;
}

/// What a token is can't be found out now.
#[derive(Debug, thiserror::Error)]
#[error("the token can't be resolved")]
pub struct ResolveError(#[source] BoxError);

impl ResolveError {
    /// Wraps the cause.
    pub fn new(cause: impl Into<BoxError>) -> Self {
        Self(cause.into())
    }
}

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// An access token.
    Access,
    /// A refresh token.
    Refresh,
}

/// A token that an endpoint can revoke.
#[derive(Clone, PartialEq, Eq)]
pub struct ResolvedToken {
    pub(crate) issuer: String,
    pub(crate) id: TokenId,
    pub(crate) expires_at: Option<UnixTime>,
    pub(crate) client: Option<String>,
    pub(crate) kind: TokenKind,
    pub(crate) grant: Option<(RevocationKey, Option<UnixTime>)>,
}

impl ResolvedToken {
    /// Makes an access token of an issuer that belongs to no client. `exp` is the token's own; `None`
    /// means that it never expires.
    pub fn new(issuer: impl Into<String>, id: TokenId, exp: Option<UnixTime>) -> Self {
        Self {
            issuer: issuer.into(),
            id,
            expires_at: exp,
            client: None,
            kind: TokenKind::Access,
            grant: None,
        }
    }

    /// Sets the client that it was issued to, which may revoke it.
    #[must_use]
    pub fn client(mut self, client: impl Into<String>) -> Self {
        self.client = Some(client.into());
        self
    }

    /// Sets its kind. Defaults to [`Access`](TokenKind::Access).
    #[must_use]
    pub fn kind(mut self, kind: TokenKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the key of its grant, under which all tokens of the grant can be revoked, and the latest
    /// `exp` of any of them, see [`Revocation::of_grant`].
    #[must_use]
    pub fn grant(mut self, key: RevocationKey, latest_exp: Option<UnixTime>) -> Self {
        self.grant = Some((key, latest_exp));
        self
    }

    /// Returns what has to be revoked, the grant first: if only part is stored, a repeated call finds
    /// the token again.
    pub(crate) fn revocations(&self, with_grant: bool) -> impl Iterator<Item = Revocation> {
        let grant = self.grant.clone().filter(|_| with_grant);
        let grant = grant.and_then(|(key, exp)| Revocation::of_grant(key, exp).ok());
        let token = Revocation::of_token(self.id, self.expires_at);
        grant.into_iter().chain([token])
    }
}

/// Shows neither the subject nor the grant.
impl fmt::Debug for ResolvedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolvedToken")
            .field("issuer", &self.issuer)
            .field("id", &self.id)
            .field("client", &self.client)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Resolves the tokens that a verifier accepts.
pub(crate) struct Verified<V>(pub(crate) V);

impl<V: TokenVerifier> TokenResolver for Verified<V> {
    fn resolve<'a>(
        &'a self,
        token: &'a BearerToken,
    ) -> BoxFuture<'a, Result<Option<ResolvedToken>, ResolveError>> {
        Box::pin(async move {
            let caller = match self.0.verify(token).await {
                Ok(caller) => caller,
                Err(rejection) => {
                    return match rejection.reason() {
                        Reason::Unavailable => Err(ResolveError::new(rejection)),
                        _ => Ok(None),
                    };
                }
            };
            let token = caller.token();
            let claims = token.claims();
            let issuer = claims.issuer().unwrap_or_default();
            let mut resolved = ResolvedToken::new(issuer, token.id(), claims.expires_at());
            resolved.client = claims.client().map(str::to_owned);
            Ok(Some(resolved))
        })
    }
}
