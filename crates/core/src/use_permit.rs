//! Uses of a token that a handler takes and may return.

use std::num::NonZeroU32;

use crate::{
    Authenticated, Rejection, StoreError,
    bearer_context::ResponseHead,
    internal::{PreparedUse, list_of},
};

impl<C> Authenticated<C> {
    /// Takes one of the token's `limit` uses, for a handler that decides while it runs whether a
    /// call costs one.
    ///
    /// At most `limit` permits of a token are granted and not returned, on all nodes that share the
    /// store. Uses count per token, so handlers and `UseLimitLayer`s must agree on the limit. The
    /// list's clock determines whether the token has expired.
    ///
    /// Dropping the permit spends the use, and so does dropping the handler.
    /// [`UsePermit::return_use`] returns it.
    ///
    /// # Errors
    /// A rejection for the handler to respond with: [`Reason::Spent`](crate::Reason::Spent) if all
    /// uses are taken, [`Reason::Unavailable`](crate::Reason::Unavailable) if the store can't
    /// answer, and [`Reason::Misconfigured`](crate::Reason::Misconfigured) if the verifier has no
    /// revocation list or the token's uses were counted with another limit.
    ///
    /// No `UseLimitLayer` is needed. Inside of one, the request takes two uses, with the same limit.
    ///
    /// If the outcome is unknown, one attempt is made to return the use by its id before the
    /// rejection is returned.
    ///
    /// # Cancel safety
    /// If the future is dropped, the use may have been taken. It then remains spent.
    ///
    /// # Examples
    /// An axum handler that costs a use only if it has something to download:
    ///
    /// ```
    /// use tower_revoke_core::{Authenticated, Rejection};
    ///
    /// # async fn next_file() -> Option<String> { None }
    /// async fn download(caller: Authenticated) -> Result<String, Rejection> {
    ///     let permit = caller.take_use_of::<1>().await?;
    ///     match next_file().await {
    ///         // Dropping the permit spends the use.
    ///         Some(file) => Ok(file),
    ///         None => {
    ///             permit.return_use().await?;
    ///             Ok("nothing yet, try again".to_owned())
    ///         }
    ///     }
    /// }
    /// ```
    pub fn take_use(
        &self,
        limit: NonZeroU32,
    ) -> impl Future<Output = Result<UsePermit, Rejection>> + Send + use<C> {
        let token = self.token();
        let prepared = list_of(token).and_then(|list| PreparedUse::new(token, list.clone(), limit));
        let head = self.response_head();
        async move {
            let prepared = prepared?;
            let left = prepared.take_or_return().await?;
            Ok(UsePermit {
                prepared,
                left,
                head,
            })
        }
    }

    /// Takes one of the token's `N` uses, see [`take_use`](Self::take_use). An `N` of 0 doesn't
    /// compile.
    pub fn take_use_of<const N: u32>(
        &self,
    ) -> impl Future<Output = Result<UsePermit, Rejection>> + Send + use<C, N> {
        self.take_use(const { NonZeroU32::new(N).expect("a token has at least one use") })
    }
}

/// A use of a token that was taken by [`Authenticated::take_use`]. Dropping it spends the use.
#[derive(Debug)]
pub struct UsePermit {
    prepared: PreparedUse,
    left: u32,
    head: ResponseHead,
}

impl UsePermit {
    /// Returns how many uses of the token were left after this one.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// Returns the use, so that another call can take it.
    ///
    /// A use can be returned only until the head of the response passes the `RequireBearerLayer`,
    /// and not after the client has left. Otherwise a client could read a response without spending
    /// a use.
    ///
    /// # Errors
    /// * [`UsePermitError::HeadPassed`] if it is too late. The use remains spent.
    /// * [`UsePermitError::Store`] if the store has not confirmed the return.
    ///
    /// # Cancel safety
    /// If the future is dropped, the use may have been returned or not.
    pub async fn return_use(self) -> Result<(), UsePermitError> {
        if self.head.has_passed() {
            return Err(UsePermitError::HeadPassed);
        }
        // `false` means that the use has expired in the meantime, which is no error.
        self.prepared.return_use().await.map(drop)?;
        Ok(())
    }
}

/// Why a use was not returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsePermitError {
    /// The head of the response has passed the `RequireBearerLayer`, the client has left, or the
    /// caller came through no such layer.
    #[error("a use can be returned only before the response's head has passed RequireBearerLayer")]
    HeadPassed,
    /// The store has not confirmed the return.
    #[error("the store has not confirmed the return of the use")]
    Store(#[from] StoreError),
}

/// Responds with 503 if the store can't answer, and with 500 if it is too late.
impl From<UsePermitError> for Rejection {
    fn from(error: UsePermitError) -> Self {
        match error {
            UsePermitError::Store(error) => error.into(),
            error @ UsePermitError::HeadPassed => {
                Self::new(crate::Reason::Misconfigured).source(error)
            }
        }
    }
}
