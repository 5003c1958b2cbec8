//! The service: removes what is the caller's, and sets what the upstream is to get.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderValue, Request, Response,
    header::{AUTHORIZATION, HOST},
    request::Parts,
};
use tower_revoke_core::{
    Authenticated, BearerContext, BearerToken, Rejection, RejectionBody, RejectionFormat,
    RejectionFuture,
    internal::{ForwardingForbidden, TokenCookies, bearer_authorization},
};
use tower_service::Service;

use super::{OutboundBody, Rules, action::Action, callers, cookies};
use crate::{OriginalAuthorization, connection};

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

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for OutboundAuthorization<S>
where
    S: Service<Request<OutboundBody<ReqBody>>, Response = Response<ResBody>>,
{
    type Response = Response<RejectionBody<ResBody>>;
    type Error = S::Error;
    type Future = RejectionFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        if let Err(rejection) = self.rules.apply(&mut head) {
            let format = RejectionFormat::of(&head.extensions);
            return RejectionFuture::rejected(format.respond_to(rejection, &head));
        }
        let body = OutboundBody::new(body, self.rules.clone());
        RejectionFuture::inner(self.inner.call(Request::from_parts(head, body)))
    }
}

impl Rules {
    /// Rejects a request whose credentials would be handed on against the word of its bearer layer.
    fn apply(&self, head: &mut Parts) -> Result<(), Rejection> {
        let mut upstreams = self.upstreams.iter();
        let named = upstreams.find(|(name, _)| name.is_target_of(&head.uri));
        let outbound = named.map(|(_, outbound)| outbound);
        if outbound.is_some_and(|outbound| outbound.action.hands_on())
            && head.extensions.get::<ForwardingForbidden>().is_some()
        {
            return Err(Rejection::misconfigured(FORBIDDEN).detail(FORBIDDEN));
        }
        let set = match outbound.map(|outbound| &outbound.action) {
            None | Some(Action::Strip) => None,
            Some(Action::Keep) => credentials(head).map(|value| (&AUTHORIZATION, value)),
            Some(Action::Rename(name)) => credentials(head).map(|value| (name, value)),
            Some(Action::Replace(value)) => Some((&AUTHORIZATION, value.clone())),
        };
        let headers = &mut head.headers;
        headers.remove(AUTHORIZATION);
        if !outbound.is_some_and(|outbound| outbound.keeps_host) {
            headers.remove(HOST);
        }
        callers::remove(headers, &self.renamed);
        let told = self.cookies.iter().map(|name| &**name);
        let names = told.chain(TokenCookies::names(&head.extensions));
        cookies::remove(headers, &names);
        if let Some((name, value)) = set {
            // The caller's `Connection`, if it is still there, must not remove it further in.
            connection::unlist(headers, name);
            headers.insert(name, value);
        }
        Ok(())
    }
}

const FORBIDDEN: &str =
    "the caller's credentials must not be forwarded: the bearer layer forbids it";

/// The caller's credentials: the header as it is now, else the original. A verified token that came
/// elsewhere replaces a header that is missing or has another scheme. Two headers count as none, since
/// it is unknown which is meant.
fn credentials(head: &Parts) -> Option<HeaderValue> {
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    let header = match (values.next(), values.next()) {
        (Some(_), Some(_)) => return None,
        (Some(value), _) => Some(value),
        (None, _) => {
            let original = head.extensions.get::<OriginalAuthorization>();
            original.map(OriginalAuthorization::value)
        }
    };
    let header = header.map(|value| OriginalAuthorization::new(value.clone()).value().clone());
    let is_bearer =
        |value: &HeaderValue| !matches!(BearerToken::from_authorization(value), Ok(None));
    let is_verified = || head.extensions.get::<Authenticated>().is_some();
    if header
        .as_ref()
        .is_some_and(|value| is_bearer(value) || !is_verified())
    {
        return header;
    }
    let token = BearerContext::of(&head.extensions).and_then(BearerContext::token);
    let elsewhere = token.and_then(|token| bearer_authorization(token.as_str()).ok());
    elsewhere.or(header)
}
