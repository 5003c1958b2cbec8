//! The traits of axum 0.8, which are those of axum-core 0.5.

use axum_core_05::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::{ExtractRejection, extract};
use crate::{Authenticated, Reason, Rejection, RejectionFormat};

impl IntoResponse for ExtractRejection {
    fn into_response(self) -> Response {
        self.respond().map(Body::new)
    }
}

/// In the default format and in HTTP form, for handlers: `list.revoke(rule).await?` in one that returns
/// `Result<_, Rejection>` is a 503 where the store can't answer. To reject in the format of the bearer
/// layer, see [`RejectionFormat::of`].
impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let format = RejectionFormat::of(&http::Extensions::new());
        format.respond_in(self, false).map(Body::new)
    }
}

/// Fails closed: 401 if nobody is there or the claims can't be read as `C`, 500 if the request came
/// through no bearer layer.
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

/// `Option<Authenticated<C>>`: `None` without a verified caller, as behind an optional bearer layer.
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
    use super::*;
    use crate::StoreError;

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
}
