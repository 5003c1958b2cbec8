//! [`TokenLifetime`] as an extractor of axum 0.8.

use axum_core_05::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use tower_revoke_core::{ExtractRejection, Reason};

use crate::TokenLifetime;

/// Fails closed: 401 without a verified caller, 500 if the request came through no bearer layer.
impl<S: Send + Sync> FromRequestParts<S> for TokenLifetime {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractRejection> {
        let taken = Self::of(&parts.extensions);
        taken.map_err(|rejection| ExtractRejection::new(parts, rejection))
    }
}

/// `Option<TokenLifetime>`: `None` without a verified caller, as behind an optional bearer layer.
impl<S: Send + Sync> OptionalFromRequestParts<S> for TokenLifetime {
    type Rejection = ExtractRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Option<Self>, ExtractRejection> {
        match Self::of(&parts.extensions) {
            Ok(lifetime) => Ok(Some(lifetime)),
            Err(rejection) if rejection.reason() == Reason::NoToken => Ok(None),
            Err(rejection) => Err(ExtractRejection::new(parts, rejection)),
        }
    }
}
