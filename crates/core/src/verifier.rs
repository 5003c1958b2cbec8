//! The port that turns a presented token into a caller.

use crate::{Authenticated, BearerToken, Rejection};

/// What a bearer layer asks: `JwtVerifier` is one; a verifier for opaque tokens is another.
///
/// A verifier answers for everything: form, signature or introspection, claims, and the
/// revocation list. It rejects with a [`Rejection`], and with
/// [`Reason::Unavailable`](crate::Reason::Unavailable) when it can't know.
pub trait TokenVerifier: Send + Sync + 'static {
    /// The answer, if it can be given without waiting, as for a token that was seen before.
    /// `None`: ask [`verify`](Self::verify).
    ///
    /// It is asked before the token's characters are looked at, which is done only if the answer is
    /// not a caller: what is no token needs no care here, it must only not be found good.
    fn verify_cached(&self, token: &BearerToken) -> Option<Result<Authenticated, Rejection>> {
        let _ = token;
        None
    }

    /// The answer.
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
}
