//! The verifiers of a set, as nested pairs: the call of one needs no box.

use std::{future::poll_fn, pin::pin, task::Poll};

use crate::{Authenticated, BearerToken, ReadyError, Reason, Rejection, TokenVerifier};

type Answer = Result<Authenticated, Rejection>;

/// Verifiers that are numbered from 0, the innermost.
pub trait Verifiers: Send + Sync + 'static {
    /// How many they are.
    const LEN: usize;

    /// Calls that of the number `at`, as the methods below.
    fn verify_cached(&self, at: usize, token: &BearerToken) -> Option<Answer>;

    fn verify(&self, at: usize, token: &BearerToken) -> impl Future<Output = Answer> + Send;

    fn verify_candidate(
        &self,
        at: usize,
        token: &BearerToken,
    ) -> impl Future<Output = Answer> + Send;

    /// Adds the issuers that are not yet there.
    fn add_issuers(&self, issuers: &mut Vec<String>);

    fn ready(&self) -> impl Future<Output = Result<(), ReadyError>> + Send;
}

impl Verifiers for () {
    const LEN: usize = 0;

    fn verify_cached(&self, _: usize, _: &BearerToken) -> Option<Answer> {
        None
    }

    async fn verify(&self, _: usize, _: &BearerToken) -> Answer {
        Err(Reason::UnknownForm.into())
    }

    async fn verify_candidate(&self, _: usize, _: &BearerToken) -> Answer {
        Err(Reason::UnknownForm.into())
    }

    fn add_issuers(&self, _: &mut Vec<String>) {}

    async fn ready(&self) -> Result<(), ReadyError> {
        Ok(())
    }
}

impl<T: TokenVerifier, V: Verifiers> Verifiers for (T, V) {
    const LEN: usize = V::LEN + 1;

    fn verify_cached(&self, at: usize, token: &BearerToken) -> Option<Answer> {
        match at == V::LEN {
            true => self.0.verify_cached(token),
            false => self.1.verify_cached(at, token),
        }
    }

    async fn verify(&self, at: usize, token: &BearerToken) -> Answer {
        match at == V::LEN {
            true => self.0.verify(token).await,
            false => self.1.verify(at, token).await,
        }
    }

    async fn verify_candidate(&self, at: usize, token: &BearerToken) -> Answer {
        match at == V::LEN {
            true => self.0.verify_candidate(token).await,
            false => self.1.verify_candidate(at, token).await,
        }
    }

    fn add_issuers(&self, issuers: &mut Vec<String>) {
        self.1.add_issuers(issuers);
        for issuer in self.0.issuers() {
            if !issuers.contains(&issuer) {
                issuers.push(issuer);
            }
        }
    }

    /// All at one time. The first error is returned at once.
    async fn ready(&self) -> Result<(), ReadyError> {
        let (mut one, mut others) = (pin!(self.0.ready()), pin!(self.1.ready()));
        let (mut one_is_ready, mut others_are_ready) = (false, false);
        poll_fn(|cx| {
            if !others_are_ready && let Poll::Ready(ready) = others.as_mut().poll(cx) {
                ready?;
                others_are_ready = true;
            }
            if !one_is_ready && let Poll::Ready(ready) = one.as_mut().poll(cx) {
                ready?;
                one_is_ready = true;
            }
            match one_is_ready && others_are_ready {
                true => Poll::Ready(Ok(())),
                false => Poll::Pending,
            }
        })
        .await
    }
}
