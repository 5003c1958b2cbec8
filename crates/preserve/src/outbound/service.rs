//! The service: removes what is the caller's, and sets what the upstream is to get.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderValue, Request,
    header::{AUTHORIZATION, HOST},
};
use tower_service::Service;

use super::{OutboundBody, Rules, action::Action, callers, upstream::Target};
use crate::OriginalAuthorization;

/// The service of [`OutboundAuthorizationLayer`](super::OutboundAuthorizationLayer).
#[derive(Clone, Debug)]
pub struct OutboundAuthorization<S> {
    inner: S,
    rules: Arc<Rules>,
}

impl<S> OutboundAuthorization<S> {
    pub(super) fn new(inner: S, rules: Arc<Rules>) -> Self {
        Self { inner, rules }
    }
}

impl<S, B> Service<Request<B>> for OutboundAuthorization<S>
where
    S: Service<Request<OutboundBody<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        self.rules.apply(&mut request);
        let rules = self.rules.clone();
        self.inner
            .call(request.map(|body| OutboundBody::new(body, rules)))
    }
}

impl Rules {
    fn apply<B>(&self, request: &mut Request<B>) {
        let target = Target::of(request);
        let named = self.upstreams.iter().find(|(name, _)| name.is(&target));
        let outbound = named.map(|(_, outbound)| outbound);
        let set = match outbound.map(|outbound| &outbound.action) {
            None | Some(Action::Strip) => None,
            Some(Action::Keep) => credentials(request).map(|value| (&AUTHORIZATION, value)),
            Some(Action::Rename(name)) => credentials(request).map(|value| (name, value)),
            Some(Action::Replace(value)) => Some((&AUTHORIZATION, value.clone())),
        };
        let headers = request.headers_mut();
        headers.remove(AUTHORIZATION);
        if !outbound.is_some_and(|outbound| outbound.keeps_host) {
            headers.remove(HOST);
        }
        callers::remove(headers, &self.renamed);
        if let Some((name, value)) = set {
            headers.insert(name, value);
        }
    }
}

/// The caller's credentials: as the header has them now, else as they came. Of two nobody can tell
/// which is meant, so that they are none.
fn credentials<B>(request: &Request<B>) -> Option<HeaderValue> {
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(OriginalAuthorization::new(value.clone()).value().clone()),
        (Some(_), Some(_)) => None,
        (None, _) => {
            let original = request.extensions().get::<OriginalAuthorization>();
            original.map(|original| original.value().clone())
        }
    }
}
