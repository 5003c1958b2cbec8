//! The port that finds out what a presented token is.

use std::{error::Error, fmt};

use tower_revoke_core::{
    Authenticated, BearerToken, BoxError, BoxFuture, Reason, Revocation, TokenId, TokenKind,
    TokenVerifier, UnixTime, internal::listed_token,
};

use crate::response::CallError;

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
/// use tower_revoke_core::{
///     BearerToken, BoxFuture, Revocation, RevocationKey, TokenHash, TokenId, TokenKind, UnixTime,
/// };
/// use tower_revoke_endpoints::{ResolveError, ResolvedToken, TokenResolver};
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
///         Box::pin(async move {
///             let Some(refresh) = self.0.get(token.as_str()) else {
///                 return Ok(None);
///             };
///             let id = TokenId::of_opaque("refresh tokens", &TokenHash::of(token.as_bytes()));
///             let grant = RevocationKey::grant(ISSUER, &refresh.grant);
///             let grant = Revocation::of_grant(grant, Some(refresh.exp));
///             let resolved = ResolvedToken::new(ISSUER, id, Some(refresh.exp))
///                 .client(&refresh.client)
///                 .kind(TokenKind::REFRESH)
///                 .grant(grant.map_err(ResolveError::new)?);
///             Ok(Some(resolved))
///         })
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

/// A token that an endpoint can revoke.
#[derive(Clone, PartialEq, Eq)]
pub struct ResolvedToken {
    pub(crate) issuer: String,
    pub(crate) id: TokenId,
    pub(crate) expires_at: Option<UnixTime>,
    pub(crate) client: Option<String>,
    pub(crate) kind: TokenKind,
    pub(crate) grant: Option<Revocation>,
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
            kind: TokenKind::ACCESS,
            grant: None,
        }
    }

    /// Sets the client that it was issued to, which may revoke it.
    #[must_use]
    pub fn client(mut self, client: impl Into<String>) -> Self {
        self.client = Some(client.into());
        self
    }

    /// Sets its kind. Defaults to [`ACCESS`](TokenKind::ACCESS).
    #[must_use]
    pub fn kind(mut self, kind: TokenKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the revocation of its grant, which ends all tokens of the grant, see
    /// [`Revocation::of_grant`]. The endpoint prolongs it to the life of
    /// [access tokens](crate::RevocationEndpoint::access_token_lifetime).
    #[must_use]
    pub fn grant(mut self, revocation: Revocation) -> Self {
        self.grant = Some(revocation);
        self
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

/// A [`TokenVerifier`] as a trait object.
pub(crate) trait AnyVerifier: Send + Sync {
    /// Returns the caller whose token it is. `None` if the verifier rejects the token.
    fn accepted<'a>(
        &'a self,
        token: &'a BearerToken,
    ) -> BoxFuture<'a, Result<Option<Authenticated>, ResolveError>>;
}

impl<V: TokenVerifier> AnyVerifier for V {
    fn accepted<'a>(
        &'a self,
        token: &'a BearerToken,
    ) -> BoxFuture<'a, Result<Option<Authenticated>, ResolveError>> {
        Box::pin(async move {
            match self.verify(token).await {
                Ok(caller) => Ok(Some(caller)),
                Err(error) if error.reason() == Reason::Unavailable => {
                    Err(ResolveError::new(error))
                }
                Err(_) => Ok(None),
            }
        })
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
            let token = match self.0.verify(token).await {
                Ok(caller) => caller.token().clone(),
                Err(error) => match (listed_token(&error), error.reason()) {
                    // By a rule that may be lifted, or for a use that may be returned.
                    (Some(token), _) => token.clone(),
                    // It will be valid, and can't be revoked yet.
                    (None, Reason::Unavailable | Reason::NotYetValid) => {
                        return Err(ResolveError::new(error));
                    }
                    (None, _) => return Ok(None),
                },
            };
            let claims = token.claims();
            let issuer = claims.issuer().unwrap_or_default();
            let mut resolved = ResolvedToken::new(issuer, token.id(), claims.expires_at());
            resolved.client = claims.client().map(str::to_owned);
            Ok(Some(resolved))
        })
    }
}

/// Returns the first answer that is not `None`. The futures are polled one after the other.
///
/// # Errors
/// [`CallError::Unavailable`] if all others are `None`, but one could not be had.
pub(crate) async fn first_known<'a, T>(
    answers: impl Iterator<Item = BoxFuture<'a, Result<Option<T>, ResolveError>>>,
) -> Result<Option<T>, CallError> {
    let mut failed = None;
    for answer in answers {
        match answer.await {
            Ok(Some(known)) => return Ok(Some(known)),
            Ok(None) => {}
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        None => Ok(None),
        Some(error) => {
            tracing::warn!(
                target: "tower_revoke::endpoints",
                error = &error as &dyn Error,
                "a token can't be resolved"
            );
            Err(CallError::Unavailable)
        }
    }
}
