//! The service: read the token, ask the verifier, and call on or refuse.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_revoke_core::{RejectionBody, TokenVerifier};
use tower_service::Service;

use crate::{RequireBearerFuture, policy::Policy, source::Presented};

/// The service of [`RequireBearerLayer`](crate::RequireBearerLayer).
///
/// It is as ready as its inner service. While a token is known to its verifier, nothing is boxed;
/// else the request waits in the response future, together with the inner service that was made
/// ready for it and the place that it may hold in a limit further in. That is why the inner service
/// must be `Clone`.
pub struct RequireBearer<S, V> {
    inner: S,
    // One handle to clone: servers and routers clone a service with each request.
    shared: Arc<Shared<V>>,
}

struct Shared<V> {
    verifier: Arc<V>,
    policy: Arc<Policy>,
}

impl<S, V> RequireBearer<S, V> {
    pub(crate) fn new(inner: S, verifier: Arc<V>, policy: Arc<Policy>) -> Self {
        Self {
            inner,
            shared: Arc::new(Shared { verifier, policy }),
        }
    }
}

impl<S, V, ReqBody, ResBody> Service<Request<ReqBody>> for RequireBearer<S, V>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    V: TokenVerifier,
{
    type Response = Response<RejectionBody<ResBody>>;
    type Error = S::Error;
    type Future = RequireBearerFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let Shared { verifier, policy } = &*self.shared;
        let Presented { token, in_query } = policy.sources.take(&mut request);
        let (answer, token) = match token {
            Ok(Some(token)) => match verifier.verify_cached(&token) {
                // What was found good needs no look at its characters.
                Some(Ok(caller)) => (Ok(Some(caller)), Some(token)),
                answer => match (token.check(), answer) {
                    (Err(malformed), _) => (Err(malformed.into()), None),
                    (Ok(()), Some(answer)) => (answer.map(Some), Some(token)),
                    (Ok(()), None) => {
                        let verifier = verifier.clone();
                        let verdict =
                            Box::pin(async move { (verifier.verify(&token).await, token) });
                        // The clone is not ready: the service that was made ready goes along.
                        let next = self.inner.clone();
                        let ready = mem::replace(&mut self.inner, next);
                        let policy = policy.clone();
                        return RequireBearerFuture::verifying(
                            verdict, ready, request, policy, in_query,
                        );
                    }
                },
            },
            Ok(None) => (Ok(None), None),
            Err(rejection) => (Err(rejection), None),
        };
        match policy.admit(answer, token, request.extensions_mut()) {
            Ok(()) => RequireBearerFuture::calling(self.inner.call(request), in_query),
            Err(rejection) => RequireBearerFuture::refused(policy.refuse(rejection, &request)),
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
