//! The service: reads the token, asks the verifier, and calls the inner service or rejects.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_revoke_core::{RejectionBody, TokenVerifier, internal::check_characters};
use tower_service::Service;

use crate::{RequireBearerFuture, candidates::Asked, policy::Policy, source::Presented};

/// The service of [`RequireBearerLayer`](crate::RequireBearerLayer).
///
/// It is as ready as its inner service. With a token that the verifier has cached, the inner service is
/// called at once, and nothing is boxed. Any other token is verified in the response future. What the
/// inner service holds while it is ready, such as a permit of a concurrency limit, is returned first, so
/// that nobody can occupy the inner service with tokens that are still being verified. Once the token
/// is accepted, the future waits until a clone of the inner service is ready; hence `Clone`.
///
/// So a limit further in bounds the calls, but not the requests whose tokens are being verified. A limit
/// further out bounds both.
pub struct RequireBearer<S, V> {
    inner: S,
    // One handle, since servers and routers clone a service with each request.
    shared: Arc<Shared<V>>,
}

pub(crate) struct Shared<V> {
    pub(crate) verifier: Arc<V>,
    pub(crate) policy: Arc<Policy>,
}

impl<S, V> RequireBearer<S, V> {
    pub(crate) fn new(inner: S, verifier: Arc<V>, policy: Arc<Policy>) -> Self {
        Self {
            inner,
            shared: Arc::new(Shared { verifier, policy }),
        }
    }

    fn verify_later<B>(
        &mut self,
        request: Request<B>,
        in_query: bool,
        asked: Asked,
    ) -> RequireBearerFuture<S, V, B>
    where
        S: Service<Request<B>> + Clone,
        V: TokenVerifier,
    {
        // Drops the ready service before a clone is polled: where there is one permit, the clone
        // would wait for it in vain.
        self.inner = self.inner.clone();
        let service = self.inner.clone();
        RequireBearerFuture::verifying(service, self.shared.clone(), asked, request, in_query)
    }
}

impl<S, V, ReqBody, ResBody> Service<Request<ReqBody>> for RequireBearer<S, V>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    V: TokenVerifier,
{
    type Response = Response<RejectionBody<ResBody>>;
    type Error = S::Error;
    type Future = RequireBearerFuture<S, V, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let Shared { verifier, policy } = &*self.shared;
        let Presented {
            token,
            cookies,
            in_query,
        } = policy.sources.take(&mut request);
        let (answer, token) = match token {
            Ok(Some(token)) => match verifier.verify_cached(&token) {
                // The characters of a token that is known to be good need no check.
                Some(Ok(caller)) if !caller.token().is_single_use() => {
                    (Ok(Some(caller)), Some(token))
                }
                answer => match (check_characters(&token), answer) {
                    (Err(malformed), _) => (Err(malformed.into()), None),
                    (Ok(()), Some(Err(rejection))) => {
                        match policy.despite_the_list(Err(rejection), Some(&token)) {
                            Ok(caller) if caller.token().is_single_use() => {
                                return self.verify_later(request, in_query, Asked::One(token));
                            }
                            answer => (answer.map(Some), Some(token)),
                        }
                    }
                    // The use of the token is taken later.
                    (Ok(()), None | Some(Ok(_))) => {
                        return self.verify_later(request, in_query, Asked::One(token));
                    }
                },
            },
            Ok(None) if !cookies.is_empty() => {
                return self.verify_later(request, in_query, Asked::OneOf(cookies));
            }
            Ok(None) => (Ok(None), None),
            Err(rejection) => (Err(rejection), None),
        };
        match policy.admit(answer, token, request.extensions_mut()) {
            Ok(head) => RequireBearerFuture::calling(self.inner.call(request), in_query, head),
            Err(rejection) => RequireBearerFuture::rejected(policy.reject(rejection, &request)),
        }
    }
}

impl<S: Clone, V> Clone for RequireBearer<S, V> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
        }
    }
}

impl<S: fmt::Debug, V> fmt::Debug for RequireBearer<S, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireBearer")
            .field("inner", &self.inner)
            .field("policy", &self.shared.policy)
            .finish_non_exhaustive()
    }
}
