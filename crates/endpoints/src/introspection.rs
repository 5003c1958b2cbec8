//! The introspection endpoint (RFC 7662).

use std::{collections::BTreeSet, fmt, sync::Arc};

use http::StatusCode;
use serde_json::{Map, Value, json};
use tower_revoke_core::{BearerToken, Claims, TokenVerifier};

use crate::{
    ClientAuthentication,
    client::ClientsByIssuer,
    request::{Answer, Handler, is_a_service},
    resolver::{AnyVerifier, first_known},
    response::json_response,
};

/// An introspection endpoint (RFC 7662): services ask whether a token is active, and what it says.
///
/// A client may ask about a token that is meant for it, that is, whose `aud` names the client's id;
/// about a token that was issued to it; and about every token of an issuer of which it is an
/// [`introspector`](Self::introspector).
///
/// It is a `tower::Service` for any request body, as
/// [`RevocationEndpoint`](crate::RevocationEndpoint) is.
///
/// # Responses
/// | response | when |
/// |---|---|
/// | 200, `active` and the claims | the token is valid, and the client may ask about it |
/// | 200, `{"active":false}` and nothing else | the token is not valid, not known, spent, revoked, or not one that the client may ask about |
/// | 400, 401, 405, 413, 429 | as for the revocation endpoint |
/// | 503 with `Retry-After` | the list, the clients or the keys are unavailable |
///
/// An active token's response has its registered claims, `scope`, `client_id`, `token_type`, and the
/// claims that were chosen by [`claim`](Self::claim). That of a refresh token, or of another kind than
/// an access token, has no `token_type`, but its kind as `token_use`: services must not accept it as a
/// bearer token. A ticket, which is good for one request, is not active, since asking doesn't use it up.
/// All have `Cache-Control: no-store`.
///
/// # Examples
/// ```
/// use axum::Router;
/// use tower_revoke_endpoints::{ClientSecret, IntrospectionEndpoint, StaticClients};
/// use tower_revoke_jwt::{Algorithm, JwtVerifier};
/// use tower_revoke_list::RevocationList;
///
/// # const SECRET: &[u8] = &[7; 32];
/// let tokens = JwtVerifier::issuer("https://id.example.com")
///     .any_audience()
///     .secret(Algorithm::HS256, SECRET)
///     .revocations(RevocationList::in_memory())
///     .build()?;
/// let secret = ClientSecret::generate()?;
/// // The service `orders` may ask about tokens with `"aud": "orders"`.
/// let clients = StaticClients::new().secret("orders", secret.hash());
///
/// let introspect = IntrospectionEndpoint::new(clients).verifier(tokens);
/// let app: Router = Router::new().route_service("/oauth/introspect", introspect);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct IntrospectionEndpoint(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    clients: ClientAuthentication,
    verifiers: Vec<Arc<dyn AnyVerifier>>,
    /// Issuers with clients that may ask about every token of that issuer.
    introspectors: ClientsByIssuer,
    claims: BTreeSet<String>,
}

/// The members of RFC 7662 §2.2 that are claims of the same name and meaning.
const REGISTERED: [&str; 7] = ["iss", "sub", "aud", "exp", "iat", "nbf", "jti"];

impl IntrospectionEndpoint {
    /// Makes an endpoint that knows no tokens yet, see [`verifier`](Self::verifier).
    pub fn new(clients: impl Into<ClientAuthentication>) -> Self {
        Self(Arc::new(Inner {
            clients: clients.into(),
            verifiers: Vec::new(),
            introspectors: ClientsByIssuer::default(),
            claims: BTreeSet::new(),
        }))
    }

    /// Reports the tokens that a verifier accepts as active. Several are asked in the order in which
    /// they were added. A verifier should accept every audience.
    #[must_use]
    pub fn verifier(mut self, verifier: impl TokenVerifier) -> Self {
        self.inner().verifiers.push(Arc::new(verifier));
        self
    }

    /// Lets a client ask about all tokens of an issuer.
    #[must_use]
    pub fn introspector(mut self, issuer: impl Into<String>, client: impl Into<String>) -> Self {
        let introspectors = &mut self.inner().introspectors;
        introspectors.insert(issuer.into(), client.into());
        self
    }

    /// Adds a claim to the responses, if the token has it.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>) -> Self {
        self.inner().claims.insert(name.into());
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
    fn may_ask(&self, client: &str, claims: &Claims) -> bool {
        let issuer = claims.issuer().unwrap_or_default();
        claims.has_audience(client)
            || claims.client() == Some(client)
            || self.introspectors.contains(issuer, client)
    }

    fn describe(&self, claims: &Claims) -> Map<String, Value> {
        let chosen = self.claims.iter().map(String::as_str);
        let names = REGISTERED.into_iter().chain(chosen);
        let held = names.filter_map(|name| Some((name.to_owned(), claims.get(name)?.clone())));
        let mut members: Map<String, Value> = held.collect();
        let scope: Vec<_> = claims.scopes().collect();
        if !scope.is_empty() {
            members.insert("scope".to_owned(), scope.join(" ").into());
        }
        if let Some(client) = claims.client() {
            members.insert("client_id".to_owned(), client.into());
        }
        match claims.get("token_use") {
            Some(kind) if !is_access(kind) => members.insert("token_use".to_owned(), kind.clone()),
            _ => members.insert("token_type".to_owned(), "Bearer".into()),
        };
        members.insert("active".to_owned(), true.into());
        members
    }
}

/// Whether a `token_use` is that of an access token.
fn is_access(kind: &Value) -> bool {
    kind.as_str().is_some_and(|kind| kind.starts_with("access"))
}

impl Handler for Inner {
    fn clients(&self) -> &ClientAuthentication {
        &self.clients
    }

    fn answer<'a>(&'a self, client: &'a str, token: Option<&'a BearerToken>) -> Answer<'a> {
        Box::pin(async move {
            let caller = match token {
                Some(token) => {
                    first_known(self.verifiers.iter().map(|one| one.accepted(token))).await?
                }
                None => None,
            };
            // Any number of services could ask about one that is good for one request.
            let caller = caller.filter(|caller| !caller.token().is_single_use());
            let claims = caller.as_ref().map(|caller| caller.token().claims());
            let claims = claims.filter(|claims| self.may_ask(client, claims));
            let body = match claims {
                Some(claims) => Value::Object(self.describe(claims)),
                None => json!({ "active": false }),
            };
            Ok(json_response(StatusCode::OK, &body))
        })
    }
}

is_a_service!(IntrospectionEndpoint);

impl fmt::Debug for IntrospectionEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectionEndpoint")
            .field("clients", &self.0.clients)
            .field("verifiers", &self.0.verifiers.len())
            .finish_non_exhaustive()
    }
}
