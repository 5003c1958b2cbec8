//! The rejection of the `Authenticated` extractor, and what extractors of any framework share.

mod axum_08;

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, request::Parts};
use http_body_util::Full;
use serde::de::DeserializeOwned;

use crate::{
    Authenticated, Reason, Rejection, RejectionFormat, end::RequestShape, internal::respond,
};

/// A rejection in the format of the bearer layer that let the request in.
#[derive(Clone, Debug)]
pub struct ExtractRejection {
    rejection: Rejection,
    format: Arc<RejectionFormat>,
    request: RequestShape,
}

impl ExtractRejection {
    /// Makes the rejection of a request, for extractors over
    /// [`Authenticated::of`](crate::Authenticated::of).
    pub fn new(parts: &Parts, rejection: Rejection) -> Self {
        Self {
            rejection,
            format: RejectionFormat::of(&parts.extensions),
            request: RequestShape::of_parts(parts),
        }
    }

    /// Returns why the request is rejected.
    pub fn rejection(&self) -> &Rejection {
        &self.rejection
    }

    fn respond(self) -> Response<Full<Bytes>> {
        respond(&self.format, self.rejection, self.request)
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

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use serde_json::json;

    use super::*;
    use crate::{BearerContext, BearerToken, Claims, TokenId, VerifiedToken};

    /// TRAPS 17.
    #[test]
    fn trap_17_what_a_handler_keeps_does_not_hold_the_token() {
        let claims = Claims::from_value(json!({"sub": "ann"})).unwrap();
        let token = VerifiedToken::new(TokenId::of_jwt("i", "1"), claims, Duration::ZERO);
        let format = Arc::new(RejectionFormat::default());
        let presented = BearerToken::new("abc").unwrap();
        let context = BearerContext::new(format.clone(), Some(presented));
        let caller = Authenticated::new(Arc::new(token)).with_context(context);
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.extensions.insert(caller);
        let kept = extract::<Claims>(&parts).ok().flatten().unwrap();
        drop(parts);
        assert_eq!(kept.subject(), Some("ann"));
        assert_eq!(Arc::strong_count(&format), 1);
    }
}
