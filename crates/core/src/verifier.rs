//! The port that turns a presented token into a caller.

use crate::{Authenticated, BearerToken, ReadyError, Rejection};

/// Verifies the tokens that a bearer layer reads: `JwtVerifier` is one verifier, one for opaque tokens
/// is another.
///
/// A verifier checks everything: form, signature or introspection, claims, and the revocation list.
/// It rejects with the [`Rejection`] that the caller gets, and with
/// [`Reason::Unavailable`](crate::Reason::Unavailable) where it can't know.
///
/// # Examples
/// A verifier of opaque tokens, which are issued elsewhere in the program:
///
/// ```
/// use std::{collections::HashMap, sync::Arc};
/// use tower_revoke_core::{
///     Authenticated, BearerToken, Claims, Reason, Rejection, Revocations, TokenHash, TokenId,
///     TokenStatus, TokenVerifier, VerifiedToken,
/// };
///
/// struct OpaqueTokens {
///     issued: HashMap<String, Claims>,
///     list: Arc<dyn Revocations>,
/// }
///
/// impl TokenVerifier for OpaqueTokens {
///     async fn verify(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
///         let claims = self.issued.get(token.as_str()).ok_or(Reason::MalformedToken)?;
///         let id = TokenId::of_opaque("sessions", &TokenHash::of(token.as_bytes()));
///         let token = VerifiedToken::new(id, claims.clone(), std::time::Duration::ZERO)
///             .with_revocations(self.list.clone())?;
///         let token = Arc::new(token);
///         let status = self.list.status(&token).await;
///         match status.map_err(|error| Rejection::list_unavailable(&token, error))? {
///             TokenStatus::Valid => Ok(Authenticated::new(token)),
///             TokenStatus::Revoked => Err(Rejection::listed(&token, Reason::Revoked)),
///             TokenStatus::Spent => Err(Rejection::listed(&token, Reason::Spent)),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't verify bearer tokens",
    note = "pass a `JwtVerifier`, or implement `TokenVerifier`"
)]
pub trait TokenVerifier: Send + Sync + 'static {
    /// Returns the answer if that takes no waiting, as for a token that was seen before. `None` if
    /// [`verify`](Self::verify) has to be asked.
    ///
    /// The layer calls it before it checks the token's characters, which it does only if no caller is
    /// returned. So the token may be any bytes; such a one must only not be found good.
    fn verify_cached(&self, token: &BearerToken) -> Option<Result<Authenticated, Rejection>> {
        let _ = token;
        None
    }

    /// Returns the issuers whose tokens it accepts, which the metadata of a protected resource names as
    /// its authorization servers (RFC 9728 §2). Defaults to none.
    fn issuers(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the caller whose token it is, or why it is rejected.
    fn verify(
        &self,
        token: &BearerToken,
    ) -> impl Future<Output = Result<Authenticated, Rejection>> + Send;

    /// Verifies one of several tokens that came with a request of which one is meant, as in cookies
    /// of one name.
    ///
    /// A stale one among them must not hold the others up: a verifier that waits for something that
    /// only this token needs, such as a key that it names, rejects the token here instead.
    fn verify_candidate(
        &self,
        token: &BearerToken,
    ) -> impl Future<Output = Result<Authenticated, Rejection>> + Send {
        self.verify(token)
    }

    /// Waits until tokens can be verified, as for keys that are fetched. By default, they always can.
    ///
    /// # Errors
    /// [`ReadyError`] if that is not possible now. The next call may succeed.
    fn ready(&self) -> impl Future<Output = Result<(), ReadyError>> + Send {
        async { Ok(()) }
    }
}
