//! The extractor and the rejections of axum handlers. They live with their types, as Rust asks.

use std::sync::Arc;

use axum_core::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::{Authenticated, BearerChecked, Reason, Rejection, RejectionFormat, end::RequestShape};

/// A rejection in the format of the bearer layer that let the request in.
#[derive(Clone, Debug)]
pub struct ExtractRejection {
    rejection: Rejection,
    format: Arc<RejectionFormat>,
    request: RequestShape,
}

impl ExtractRejection {
    fn new(parts: &Parts, rejection: Rejection) -> Self {
        Self {
            rejection,
            format: BearerChecked::format_of(&parts.extensions),
            request: RequestShape::of_parts(parts),
        }
    }

    /// Why.
    pub fn rejection(&self) -> &Rejection {
        &self.rejection
    }
}

impl IntoResponse for ExtractRejection {
    fn into_response(self) -> Response {
        self.format
            .respond(self.rejection, self.request)
            .map(Body::new)
    }
}

/// In the default format and in HTTP form, for handlers: `list.revoke(rule).await?` in one that returns
/// `Result<_, Rejection>` is a 503 where the store can't answer. In the format of a bearer layer it
/// is [`BearerChecked::format_of`] and [`RejectionFormat::respond`].
impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        RejectionFormat::of_nobody()
            .respond_to_unknown(self)
            .map(Body::new)
    }
}

fn extract<C>(parts: &Parts) -> Result<Option<Authenticated<C>>, ExtractRejection>
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    let rejected = |rejection| ExtractRejection::new(parts, rejection);
    match Authenticated::of(&parts.extensions) {
        Ok(caller) => match caller.typed() {
            Ok(caller) => Ok(Some(caller)),
            Err(error) => Err(rejected(error.into())),
        },
        Err(rejection) if rejection.reason() == Reason::NoToken => Ok(None),
        Err(rejection) => Err(rejected(rejection)),
    }
}

/// Fails closed: 401 if nobody is there or the claims are no `C`, 500 if no bearer layer looked.
impl<S, C> FromRequestParts<S> for Authenticated<C>
where
    S: Send + Sync,
    C: DeserializeOwned + Send + Sync + 'static,
{
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractRejection> {
        extract(parts)?.ok_or_else(|| ExtractRejection::new(parts, Reason::NoToken.into()))
    }
}

/// `Option<Authenticated<C>>`: `None` if nobody is there, as behind an optional bearer layer.
impl<S, C> OptionalFromRequestParts<S> for Authenticated<C>
where
    S: Send + Sync,
    C: DeserializeOwned + Send + Sync + 'static,
{
    type Rejection = ExtractRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Option<Self>, ExtractRejection> {
        extract(parts)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use serde_json::json;

    use super::*;
    use crate::{BearerToken, Claims, StoreError, TokenId, VerifiedToken};

    #[test]
    fn a_handler_s_rejection_looks_like_a_layer_s() {
        let rejected = Rejection::from(StoreError::Unavailable("down".into())).into_response();
        assert_eq!(rejected.status(), 503);
        assert_eq!(rejected.headers()["retry-after"], "1");
        let rejected = Rejection::from(Reason::MissingClaim).into_response();
        assert_eq!(rejected.status(), 401);
        assert!(rejected.headers().contains_key("www-authenticate"));
        assert!(rejected.extensions().get::<Rejection>().is_some());
    }

    /// TRAPS 17.
    #[test]
    fn trap_17_what_a_handler_keeps_does_not_hold_the_token() {
        let claims = Claims::from_value(json!({"sub": "ann"})).unwrap();
        let token = VerifiedToken::new(TokenId::of_jwt("i", "1"), claims, Duration::ZERO);
        let format = Arc::new(RejectionFormat::default());
        let presented = BearerToken::new("abc").unwrap();
        let checked = BearerChecked::new(format.clone(), Some(presented));
        let caller = Authenticated::new(Arc::new(token)).with_checked(checked);
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.extensions.insert(caller);
        let kept = extract::<Claims>(&parts).ok().flatten().unwrap();
        drop(parts);
        assert_eq!(kept.subject(), Some("ann"));
        assert_eq!(Arc::strong_count(&format), 1);
    }
}
