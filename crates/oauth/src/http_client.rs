//! The HTTP client by which servers are called.

use std::sync::Arc;

use tower_revoke_core::{BoxError, HttpClient};

/// Returns the client that was set, or else the default one; `None` without the feature `https`.
///
/// # Errors
/// The default client can't be built.
pub(crate) fn set_or_default(
    client: Option<Arc<dyn HttpClient>>,
) -> Result<Option<Arc<dyn HttpClient>>, BoxError> {
    #[cfg(feature = "https")]
    if client.is_none() {
        return Ok(Some(Arc::new(tower_revoke_http::HttpsClient::new()?)));
    }
    Ok(client)
}
