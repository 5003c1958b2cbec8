//! The header's original value.

use http::{HeaderValue, Request, header::AUTHORIZATION};

/// The `Authorization` value as the client sent it, in the request's extensions.
///
/// It is marked sensitive, so that `Debug` doesn't show it. A proxy that builds a new request for its
/// upstream moves all extensions to it, since
/// [`OutboundAuthorizationLayer`](crate::OutboundAuthorizationLayer) needs more than this one:
///
/// ```
/// use http::Request;
///
/// fn to_upstream(request: Request<()>, mut upstream: Request<()>) -> Request<()> {
///     *upstream.extensions_mut() = request.into_parts().0.extensions;
///     upstream
/// }
/// ```
#[derive(Clone, Debug)]
pub struct OriginalAuthorization(HeaderValue);

impl OriginalAuthorization {
    /// Wraps a value, and marks it sensitive.
    pub fn new(mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        Self(value)
    }

    /// Returns the value, with the scheme. Anyone who has it can use it: keep it out of logs.
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }

    /// Keeps the value, if there is exactly one; of several it is unknown which is meant. A value that
    /// was kept further out stays: that is the original.
    pub(crate) fn keep<B>(request: &mut Request<B>) {
        if request.extensions().get::<Self>().is_some() {
            return;
        }
        let headers = request.headers();
        // No name stands twice in most requests, which need no second look-up.
        let has_repeated = headers.len() > headers.keys_len();
        if has_repeated && headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
            return;
        }
        if let Some(value) = headers.get(AUTHORIZATION) {
            let original = Self::new(value.clone());
            request.extensions_mut().insert(original);
        }
    }
}
