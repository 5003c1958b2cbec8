//! The authenticated caller of a request.

use std::{
    any::{Any, TypeId},
    fmt,
    ops::Deref,
    sync::Arc,
};

use serde::de::DeserializeOwned;

use crate::{
    BearerContext, Claims, ClaimsError, Reason, Rejection, RevocationKey, TokenId, UnixTime,
    VerifiedToken, bearer_context::ResponseHead,
};

/// The verified token in a request's extensions, and an extractor for it.
///
/// It derefs to the claims, so that a handler reads them as fields of its own type:
///
/// ```
/// use serde::Deserialize;
/// use tower_revoke_core::Authenticated;
///
/// #[derive(Deserialize)]
/// struct MyClaims {
///     sub: String,
/// }
///
/// async fn orders(caller: Authenticated<MyClaims>) -> String {
///     format!("orders of {}", caller.sub)
/// }
/// ```
pub struct Authenticated<C = Claims> {
    token: Arc<VerifiedToken>,
    /// `None` if `C` is `Claims`, which the token holds.
    typed: Option<Arc<C>>,
    /// Kept here rather than as a second extension, since one entry is cheaper than two.
    context: Option<BearerContext>,
    /// Replaces the context in a typed caller, which a handler may keep for longer than the
    /// request.
    head: ResponseHead,
}

impl Authenticated {
    /// Makes the caller of a verified token. Its bearer is treated as the token's subject.
    pub fn new(token: Arc<VerifiedToken>) -> Self {
        Self {
            token,
            typed: None,
            context: None,
            head: ResponseHead::default(),
        }
    }

    /// Adds what a bearer layer passes to the layers inside of it.
    #[must_use]
    pub fn with_context(mut self, context: BearerContext) -> Self {
        self.context = Some(context);
        self
    }

    pub(crate) fn context(&self) -> Option<&BearerContext> {
        self.context.as_ref()
    }

    /// Returns the caller that a bearer layer has put into a request's extensions.
    ///
    /// # Errors
    /// [`Reason::NoToken`] if the request has no verified token, [`Reason::Misconfigured`] if it
    /// did not pass a bearer layer.
    pub fn of(extensions: &http::Extensions) -> Result<&Self, Rejection> {
        match extensions.get::<Self>() {
            Some(caller) => Ok(caller),
            None if BearerContext::of(extensions).is_some() => Err(Reason::NoToken.into()),
            None => Err(Rejection::layer_missing("RequireBearerLayer")),
        }
    }

    /// Returns the same caller with its claims deserialized as `C`. The result is cached with the
    /// token.
    ///
    /// # Errors
    /// [`ClaimsError::DoNotFit`] if the claims can't be deserialized as `C`.
    pub fn typed<C>(&self) -> Result<Authenticated<C>, ClaimsError>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        let is_untyped = TypeId::of::<C>() == TypeId::of::<Claims>();
        Ok(Authenticated {
            typed: match is_untyped {
                true => None,
                false => Some(self.token.typed()?),
            },
            token: self.token.clone(),
            // The context holds the token as it was presented. A handler may keep this value for
            // longer than the request, so the context is left out.
            context: None,
            head: self.response_head(),
        })
    }
}

impl<C: 'static> Authenticated<C> {
    /// Returns the claims.
    pub fn claims(&self) -> &C {
        let own = || {
            let claims: &dyn Any = self.token.claims();
            claims.downcast_ref()
        };
        let claims = self.typed.as_deref().or_else(own);
        claims.expect("claims of any other type than the token's own are kept beside it")
    }
}

impl<C> Authenticated<C> {
    pub(crate) fn response_head(&self) -> ResponseHead {
        let context = self.context.as_ref();
        context.map_or_else(|| self.head.clone(), BearerContext::response_head)
    }

    /// Returns the verified token.
    pub fn token(&self) -> &Arc<VerifiedToken> {
        &self.token
    }

    /// Returns the id under which the token is listed.
    pub fn token_id(&self) -> TokenId {
        self.token.id()
    }

    /// Returns `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.token.claims().issuer()
    }

    /// Returns `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.token.claims().subject()
    }

    /// Returns the client that the token was issued to, see [`Claims::client`].
    pub fn client(&self) -> Option<&str> {
        self.token.claims().client()
    }

    /// Returns `exp`.
    pub fn expires_at(&self) -> Option<UnixTime> {
        self.token.claims().expires_at()
    }

    /// Returns whether the token carries `scope`.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.token.claims().has_scope(scope)
    }

    /// Returns the key that revokes all tokens of this token's subject ("log out everywhere").
    /// `None` unless the token has both `iss` and `sub`.
    #[doc(alias("logout", "revoke_all"))]
    pub fn subject_key(&self) -> Option<RevocationKey> {
        Some(RevocationKey::subject(self.issuer()?, self.subject()?))
    }

    /// Returns the key that revokes all tokens of this token's client. `None` unless the token has
    /// `iss` and a client.
    pub fn client_key(&self) -> Option<RevocationKey> {
        Some(RevocationKey::client(self.issuer()?, self.client()?))
    }

    /// Returns the key that revokes all tokens of this token's grant. `None` unless the token has
    /// `iss` and a grant.
    pub fn grant_key(&self) -> Option<RevocationKey> {
        let grant = self.token.claims().grant()?;
        Some(RevocationKey::grant(self.issuer()?, grant))
    }

    /// Returns the key that revokes all tokens of this token's session at its issuer ("log out
    /// here"). `None` unless the token has `iss` and a session.
    #[doc(alias = "logout")]
    pub fn session_key(&self) -> Option<RevocationKey> {
        let session = self.token.claims().session()?;
        Some(RevocationKey::session(self.issuer()?, session))
    }
}

impl<C: 'static> Deref for Authenticated<C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.claims()
    }
}

impl<C> Clone for Authenticated<C> {
    fn clone(&self) -> Self {
        Self {
            token: self.token.clone(),
            typed: self.typed.clone(),
            context: self.context.clone(),
            head: self.head.clone(),
        }
    }
}

impl<C> fmt::Debug for Authenticated<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated")
            .field("token", &self.token.id())
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn caller(claims: serde_json::Value) -> Authenticated {
        let claims = Claims::from_value(claims).unwrap();
        let token = VerifiedToken::new(TokenId::of_jwt("i", "1"), claims, Duration::ZERO);
        Authenticated::new(Arc::new(token))
    }

    #[test]
    fn the_keys_of_a_caller_concern_its_token() {
        let caller = caller(json!({
            "iss": "i", "sub": "ann", "client_id": "shop", "sid": "s1", "grant_id": "g1",
        }));
        let keys = [
            caller.subject_key(),
            caller.client_key(),
            caller.session_key(),
            caller.grant_key(),
        ];
        let expected = [
            RevocationKey::subject("i", "ann"),
            RevocationKey::client("i", "shop"),
            RevocationKey::session("i", "s1"),
            RevocationKey::grant("i", "g1"),
        ];
        assert_eq!(keys, expected.map(Some));
        for key in keys.into_iter().flatten() {
            assert!(caller.token().keys().contains(&key.digest()), "{key:?}");
        }
    }

    #[test]
    fn a_caller_without_the_claim_or_the_issuer_has_no_key() {
        for claims in [
            json!({"iss": "i"}),
            json!({"sub": "ann", "client_id": "shop", "sid": "s1", "grant_id": "g1"}),
        ] {
            let caller = caller(claims);
            assert_eq!(caller.subject_key(), None);
            assert_eq!(caller.client_key(), None);
            assert_eq!(caller.session_key(), None);
            assert_eq!(caller.grant_key(), None);
        }
    }
}
