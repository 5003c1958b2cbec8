//! The revocation endpoint (RFC 7009).

use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;
use tower_revoke_core::{
    BearerToken, Revocation, Revocations, TokenKind, TokenVerifier, internal::Audit,
};

use crate::{
    ClientAuthentication, ResolvedToken, TokenResolver,
    client::ClientsByIssuer,
    issued::{ACCESS_TOKEN_LIFETIME, outlasting},
    request::{Answer, Handler, is_a_service},
    resolver::{Verified, first_known},
    response::{CallError, empty},
};

/// A revocation endpoint (RFC 7009): clients end the tokens that were issued to them.
///
/// It is a `tower::Service` for any request body: mount it with axum's `route_service`, or on hyper
/// with `TowerToHyperService`.
///
/// # Responses
/// | response | when |
/// |---|---|
/// | 200 | the token is revoked, durably, or was not valid: unknown, malformed, expired |
/// | 400 `invalid_request` | no form, no `token`, a repeated parameter, credentials in header and form |
/// | 401 `invalid_client` | no credentials, wrong ones, or by a method that is not allowed |
/// | 400 `invalid_grant` | the token was issued to another client |
/// | 405, 413 | another method than POST, a body of more than 16 KiB |
/// | 429 | too many failed authentications at one time |
/// | 503 with `Retry-After` | the list, the clients or the keys are unavailable, or the token is not valid yet: it may still be valid |
///
/// All have `Cache-Control: no-store`, and none an `Access-Control` header. The `token_type_hint` is
/// ignored, as RFC 7009 §2.1 allows: tokens of all types are searched.
///
/// # Audit
/// Each revocation is logged as a `tracing` event of level `INFO` with the target
/// `tower_revoke::audit`, and so is each call that is answered with `invalid_grant`. Of the token, the
/// hash is logged under which it is listed.
///
/// # Examples
/// ```
/// use axum::Router;
/// use tower_revoke_endpoints::{ClientSecret, RevocationEndpoint, StaticClients};
/// use tower_revoke_jwt::{Algorithm, JwtVerifier};
/// use tower_revoke_list::RevocationList;
///
/// # const SECRET: &[u8] = &[7; 32];
/// let list = RevocationList::in_memory();
/// // A client may revoke its token whatever the audience is.
/// let tokens = JwtVerifier::issuer("https://id.example.com")
///     .any_audience()
///     .secret(Algorithm::HS256, SECRET)
///     .revocations(list.clone())
///     .build()?;
/// let secret = ClientSecret::generate()?;
/// let clients = StaticClients::new().secret("shop", secret.hash());
///
/// let revoke = RevocationEndpoint::new(list, clients).verifier(tokens);
/// let app: Router = Router::new().route_service("/oauth/revoke", revoke);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RevocationEndpoint(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    list: Arc<dyn Revocations>,
    clients: ClientAuthentication,
    resolvers: Vec<Arc<dyn TokenResolver>>,
    /// Issuers with clients that may revoke every token of that issuer.
    revokers: ClientsByIssuer,
    ends_grants: bool,
    access_token_lifetime: Duration,
}

impl RevocationEndpoint {
    /// Makes an endpoint that knows no tokens yet, see [`verifier`](Self::verifier) and
    /// [`resolver`](Self::resolver).
    pub fn new(
        list: impl Into<Arc<dyn Revocations>>,
        clients: impl Into<ClientAuthentication>,
    ) -> Self {
        Self(Arc::new(Inner {
            list: list.into(),
            clients: clients.into(),
            resolvers: Vec::new(),
            revokers: ClientsByIssuer::default(),
            ends_grants: false,
            access_token_lifetime: ACCESS_TOKEN_LIFETIME,
        }))
    }

    /// Accepts the access tokens that a verifier accepts. The client of a token is named by the claim
    /// that the verifier reads it from, see [`ClaimNames`](tower_revoke_core::ClaimNames).
    ///
    /// The verifier should accept every audience. A token that it rejects counts as invalid, so the
    /// answer is 200, unless it may be valid later: one that is not valid yet is answered with 503, and
    /// one that a rule revokes or that is spent is revoked itself, since the rule may be lifted and the
    /// use returned.
    #[must_use]
    pub fn verifier(self, verifier: impl TokenVerifier) -> Self {
        self.resolver(Verified(verifier))
    }

    /// Accepts the tokens that a resolver knows. Several are asked in the order in which they were
    /// added.
    #[must_use]
    pub fn resolver(mut self, resolver: impl TokenResolver) -> Self {
        self.inner().resolvers.push(Arc::new(resolver));
        self
    }

    /// Lets a client revoke all tokens of an issuer, whichever client they were issued to.
    #[must_use]
    pub fn revoker(mut self, issuer: impl Into<String>, client: impl Into<String>) -> Self {
        let revokers = &mut self.inner().revokers;
        revokers.insert(issuer.into(), client.into());
        self
    }

    /// Sets whether an access token takes its grant along, and so the refresh token. Defaults to
    /// `false`. A refresh token always does.
    #[must_use]
    pub fn access_tokens_end_grants(mut self, ends_grants: bool) -> Self {
        self.inner().ends_grants = ends_grants;
        self
    }

    /// Sets how long access tokens live that no [resolver](Self::resolver) knows, such as the JWTs of a
    /// server that stores its refresh tokens only. Defaults to 24 h.
    ///
    /// The revocation of a grant lasts until the grant's tokens have expired, as far as its resolver
    /// knows them, and from the call on for at least this long: an access token that outlived it would
    /// be valid again.
    #[must_use]
    pub fn access_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.inner().access_token_lifetime = lifetime;
        self
    }

    pub(crate) fn clients(&self) -> &ClientAuthentication {
        &self.0.clients
    }

    fn inner(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }
}

impl Inner {
    async fn revoke(&self, client: &str, token: &ResolvedToken) -> Result<(), CallError> {
        let is_owner = token.client.as_deref() == Some(client);
        let audit = || {
            let mut audit = Audit::new("revocation_endpoint").by(client);
            audit.action("revoke");
            audit
        };
        if !is_owner && !self.revokers.contains(&token.issuer, client) {
            let error = CallError::Grant;
            let mut audit = audit();
            error.tell(audit.key(token.id.into()));
            return Err(error);
        }
        let with_grant = token.kind == TokenKind::REFRESH || self.ends_grants;
        let now = self.list.clock().now();
        let grant = token.grant.clone().filter(|_| with_grant);
        let grant = grant.map(|grant| outlasting(grant, self.access_token_lifetime, now));
        // The grant first: if only part is stored, a repeated call finds the token again.
        let token = Revocation::of_token(token.id, token.expires_at);
        for revocation in grant.into_iter().chain([token]) {
            let revocation = revocation.by(client).because("revoked by its client");
            let revoked = audit().revoke(Arc::clone(&self.list), revocation).await;
            revoked.map_err(|error| {
                tracing::warn!(
                    target: "tower_revoke::endpoints",
                    %error,
                    "a token can't be revoked"
                );
                CallError::Unavailable
            })?;
        }
        Ok(())
    }
}

impl Handler for Inner {
    fn clients(&self) -> &ClientAuthentication {
        &self.clients
    }

    fn answer<'a>(&'a self, client: &'a str, token: Option<&'a BearerToken>) -> Answer<'a> {
        Box::pin(async move {
            let token = match token {
                Some(token) => {
                    first_known(self.resolvers.iter().map(|one| one.resolve(token))).await?
                }
                None => None,
            };
            if let Some(token) = token {
                self.revoke(client, &token).await?;
            }
            Ok(empty(StatusCode::OK))
        })
    }
}

is_a_service!(RevocationEndpoint);

impl fmt::Debug for RevocationEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationEndpoint")
            .field("clients", &self.0.clients)
            .field("resolvers", &self.0.resolvers.len())
            .finish_non_exhaustive()
    }
}
