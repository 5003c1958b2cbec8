//! One use of a token, together with the list that it is taken from.

use std::{num::NonZeroU32, sync::Arc};

use crate::{
    BoxFuture, Reason, Rejection, Revocations, StoreError, TokenId, UnixTime, Use, UseId,
    UseOutcome, VerifiedToken,
    verified_token::{SingleUse, single_use},
};

/// A use with an id of its own, and the list that it is taken from.
#[derive(Clone, Debug)]
pub struct PreparedUse {
    use_: Use,
    list: Arc<dyn Revocations>,
}

impl PreparedUse {
    /// Makes a use of `token`, which has `limit` uses, to be taken from `list`.
    ///
    /// # Errors
    /// If the system provides no random bytes.
    pub fn new(
        token: &VerifiedToken,
        list: Arc<dyn Revocations>,
        limit: NonZeroU32,
    ) -> Result<Self, Rejection> {
        Self::of(token.id(), list, limit, token.claims().expires_at())
    }

    /// Makes the use that a token is [good for](VerifiedToken::with_single_use). `None` if it may be
    /// used any number of times.
    ///
    /// # Errors
    /// If the token's verifier has no list, or the system provides no random bytes.
    pub fn single(token: &VerifiedToken) -> Option<Result<Self, Rejection>> {
        let SingleUse { token: id, until } = single_use(token)?;
        let list = list_of(token).cloned();
        Some(list.and_then(|list| Self::of(id, list, NonZeroU32::MIN, Some(until))))
    }

    fn of(
        token: TokenId,
        list: Arc<dyn Revocations>,
        limit: NonZeroU32,
        exp: Option<UnixTime>,
    ) -> Result<Self, Rejection> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|error| Rejection::new(Reason::Unavailable).source(error))?;
        let use_ = Use::new(token, UseId::from_bytes(id), limit, exp);
        Ok(Self { use_, list })
    }

    /// Takes the use, and returns how many are left. If the outcome is unknown, one attempt is made to
    /// return the use.
    ///
    /// # Errors
    /// The rejection, if the use was not taken.
    pub async fn take_or_return(&self) -> Result<u32, Rejection> {
        let outcome = self.take().await;
        if outcome.as_ref().is_err_and(StoreError::is_ambiguous) {
            // The rejection reports the first failure; a failed return adds nothing to it.
            let _ = self.return_use().await;
        }
        self.left(outcome)
    }

    /// Takes the use.
    pub fn take(&self) -> BoxFuture<'static, Result<UseOutcome, StoreError>> {
        self.list.clone().take_use(self.use_)
    }

    /// Returns the use by its id, whether or not it is known to be taken.
    pub fn return_use(&self) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.list.clone().return_use(self.use_)
    }

    /// Returns how many uses are left after the use was taken.
    ///
    /// # Errors
    /// The rejection, if the use was not taken.
    pub fn left(&self, outcome: Result<UseOutcome, StoreError>) -> Result<u32, Rejection> {
        let rejection = match outcome {
            Ok(UseOutcome::Taken { left }) => return Ok(left),
            Ok(UseOutcome::Spent) => Rejection::new(Reason::Spent),
            Err(error) => Rejection::from(error),
        };
        Err(rejection.token(self.use_.token))
    }

    /// Returns the [`Use`] itself.
    pub fn use_(&self) -> &Use {
        &self.use_
    }

    /// Returns the list.
    pub fn list(&self) -> &Arc<dyn Revocations> {
        &self.list
    }
}

/// Returns the list that a token is checked against.
///
/// # Errors
/// If the token's verifier has no list.
pub fn list_of(token: &VerifiedToken) -> Result<&Arc<dyn Revocations>, Rejection> {
    token.revocations().ok_or_else(|| {
        Rejection::misconfigured("the verifier has no revocation list").token(token.id())
    })
}
