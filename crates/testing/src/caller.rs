//! A caller without a token, for tests that call a handler directly.

use std::{sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tower_revoke_core::{Authenticated, Claims, TokenId, VerifiedToken};

use crate::issuer::random_text;

/// Makes the caller of a token with these claims, for a test that calls a handler directly.
///
/// `C` is the type that the handler reads claims as; [`Claims`] if it names none. The token is valid
/// and has a random id. It has no revocation list, so `take_use` is rejected: test what a use does
/// through the layers.
///
/// # Panics
/// If the claims are not those of a token, or not of the type `C`.
///
/// # Examples
/// ```
/// use serde::Deserialize;
/// use serde_json::json;
/// use tower_revoke_core::Authenticated;
/// use tower_revoke_testing::authenticated;
///
/// #[derive(Deserialize)]
/// struct Customer {
///     sub: String,
/// }
///
/// async fn orders(caller: Authenticated<Customer>) -> String {
///     format!("orders of {}", caller.sub)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// assert_eq!(orders(authenticated(json!({ "sub": "bob" }))).await, "orders of bob");
/// # }
/// ```
pub fn authenticated<C>(claims: impl Into<Value>) -> Authenticated<C>
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    let claims = Claims::from_value(claims.into()).expect("the claims of a token");
    let issuer = claims.issuer().unwrap_or_default();
    let id = TokenId::of_jwt(issuer, &random_text(16));
    let token = VerifiedToken::new(id, claims, Duration::ZERO);
    let caller = Authenticated::new(Arc::new(token)).typed();
    caller.expect("claims of the type that the handler reads")
}
