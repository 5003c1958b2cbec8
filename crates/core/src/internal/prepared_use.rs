//! One use of a token, together with the list that it is taken from.

use std::{num::NonZeroU32, sync::Arc};

use crate::{
    BoxFuture, Reason, Rejection, Revocations, StoreError, Use, UseId, UseOutcome, VerifiedToken,
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
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|error| Rejection::new(Reason::Unavailable).source(error))?;
        let exp = token.claims().expires_at();
        let use_ = Use::new(token.id(), UseId::from_bytes(id), limit, exp);
        Ok(Self { use_, list })
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
