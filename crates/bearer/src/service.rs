//! The service: read the token, ask the verifier, and call on or refuse.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_revoke_core::{Authenticated, BearerChecked, RejectionBody, TokenVerifier};
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
    verifier: Arc<V>,
    policy: Arc<Policy>,
}

impl<S, V> RequireBearer<S, V> {
    pub(crate) fn new(inner: S, verifier: Arc<V>, policy: Arc<Policy>) -> Self {
        Self {
            inner,
            verifier,
            policy,
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
        let Presented { token, in_query } = self.policy.sources.take(&mut request);
        let format = self.policy.format.clone();
        let presented = token.as_ref().ok().cloned().flatten();
        let extensions = request.extensions_mut();
        extensions.insert(BearerChecked::new(format, presented));
        // What another bearer layer let through has not been found good by this one.
        extensions.remove::<Authenticated>();
        let answer = match token {
            Ok(Some(token)) => match self.verifier.verify_cached(&token) {
                Some(answer) => answer.map(Some),
                None => {
                    let verifier = self.verifier.clone();
                    let verdict = Box::pin(async move { verifier.verify(&token).await });
                    // The clone is not ready: the service that was made ready goes along.
                    let next = self.inner.clone();
                    let ready = mem::replace(&mut self.inner, next);
                    let policy = self.policy.clone();
                    return RequireBearerFuture::verifying(
                        verdict, ready, request, policy, in_query,
                    );
                }
            },
            Ok(None) => Ok(None),
            Err(rejection) => Err(rejection),
        };
        match self.policy.admit(answer, request.extensions_mut()) {
            Ok(()) => RequireBearerFuture::calling(self.inner.call(request), in_query),
            Err(rejection) => {
                RequireBearerFuture::refused(self.policy.refuse(rejection, request.headers()))
            }
        }
    }
}

impl<S: Clone, V> Clone for RequireBearer<S, V> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            verifier: self.verifier.clone(),
            policy: self.policy.clone(),
        }
    }
}

impl<S: fmt::Debug, V> fmt::Debug for RequireBearer<S, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireBearer")
            .field("inner", &self.inner)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
