//! A node: the whole stack over a list, with a revocation endpoint for two clients.

use std::{path::Path, sync::Arc};

use axum::{
    Extension, Router,
    http::StatusCode,
    routing::{get, post},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{
    Request,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::Full;
use tower_revoke::{
    Authenticated, ClientAuthentication, JwtVerifier, JwtVerifierBuilder, Reason, Rejection,
    RequireBearerLayer, ResolveError, ResolvedToken, Revocation, RevocationEndpoint, RevocationKey,
    RevocationList, SecretHash, StaticClients, TokenKind, TokenResolver, UseLimitLayer,
    core::{BearerToken, BoxError, BoxFuture, Revocations, TokenVerifier},
};
use tower_revoke_testing::TestIssuer;

/// The clients of [`router`], with their secrets.
pub const CLIENTS: [(&str, &str); 2] = [
    ("shop", "the shop's secret, which is long enough"),
    ("bank", "the bank's secret, which is long enough"),
];

/// The issuer whose tokens a node accepts.
pub const ISSUER: &str = "https://id.example.com";

/// The audience of access tokens.
const API: &str = "api";

/// The audience of refresh tokens, which no resource accepts.
const REFRESH: &str = "refresh";

/// Returns the routes of a node: resources, log-outs and `/revoke`. `keys` is a file with the keys of
/// the [`ISSUER`].
///
/// # Errors
/// If the file has no keys.
pub fn router(list: RevocationList, keys: &Path) -> Result<Router, BoxError> {
    let clients = clients()?;
    let revoke = endpoint(&list, keys, clients)?;
    let tokens = tokens(&list, keys).audience(API).build()?;
    Ok(Router::new()
        .route("/orders", get(async || "some orders"))
        .route(
            "/invoice",
            get(async || "your only look at it").layer(UseLimitLayer::single()),
        )
        .route("/log-out", post(log_out))
        .route("/log-out-everywhere", post(log_out_everywhere))
        .layer(RequireBearerLayer::new(tokens))
        .layer(Extension(list))
        .route_service("/revoke", revoke))
}

/// Returns a revocation endpoint for the access and refresh tokens of the [`ISSUER`].
///
/// # Errors
/// If the file has no keys.
pub fn endpoint(
    list: &RevocationList,
    keys: &Path,
    clients: impl Into<ClientAuthentication>,
) -> Result<RevocationEndpoint, BoxError> {
    let refresh = tokens(list, keys).audience(REFRESH).build()?;
    let access = tokens(list, keys).audience(API).build()?;
    let list: Arc<dyn Revocations> = list.clone().into();
    Ok(RevocationEndpoint::new(list, clients)
        .verifier(access)
        .resolver(RefreshTokens(refresh)))
}

fn tokens(list: &RevocationList, keys: &Path) -> JwtVerifierBuilder {
    JwtVerifier::issuer(ISSUER)
        .jwks_file(keys)
        .rule_claim("grant_id")
        .revocations(list.clone())
}

/// Issues an access token of a grant to a client.
pub fn access_token(issuer: &TestIssuer, client: &str, grant: &str) -> String {
    token_for(issuer, API, client, grant)
}

/// Issues a refresh token of a grant to a client.
pub fn refresh_token(issuer: &TestIssuer, client: &str, grant: &str) -> String {
    token_for(issuer, REFRESH, client, grant)
}

fn token_for(issuer: &TestIssuer, audience: &str, client: &str, grant: &str) -> String {
    let token = issuer.token().audience(audience).claim("client_id", client);
    token.claim("grant_id", grant).sign()
}

/// Returns the request of a client to revoke a token.
///
/// # Panics
/// If the token or the client can't be written into a request.
pub fn revocation((client, secret): (&str, &str), token: &str) -> Request<Full<Bytes>> {
    let credentials = BASE64_STANDARD.encode(format!("{client}:{secret}"));
    Request::post("http://localhost/revoke")
        .header(HOST, "localhost")
        .header(AUTHORIZATION, format!("Basic {credentials}"))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::from(format!("token={token}")))
        .expect("a request")
}

/// Refresh tokens are JWTs here, so that nodes share nothing but the keys and the store.
struct RefreshTokens(JwtVerifier);

impl TokenResolver for RefreshTokens {
    fn resolve<'a>(
        &'a self,
        token: &'a BearerToken,
    ) -> BoxFuture<'a, Result<Option<ResolvedToken>, ResolveError>> {
        Box::pin(async move {
            let caller = match self.0.verify(token).await {
                Ok(caller) => caller,
                Err(error) if error.reason() == Reason::Unavailable => {
                    return Err(ResolveError::new(error));
                }
                Err(_) => return Ok(None),
            };
            let (token, exp) = (caller.token(), caller.expires_at());
            let text = |name| token.claims().get(name)?.as_str();
            let (Some(client), Some(grant)) = (text("client_id"), text("grant_id")) else {
                return Ok(None);
            };
            let grant = Revocation::of_grant(RevocationKey::grant(ISSUER, grant), exp);
            let resolved = ResolvedToken::new(ISSUER, caller.token_id(), exp)
                .client(client)
                .kind(TokenKind::REFRESH)
                .grant(grant.map_err(ResolveError::new)?);
            Ok(Some(resolved))
        })
    }
}

/// Returns the clients of the endpoints.
pub(crate) fn clients() -> Result<StaticClients, BoxError> {
    let mut clients = StaticClients::new();
    for (client, secret) in CLIENTS {
        clients = clients.secret(client, SecretHash::of(secret)?);
    }
    Ok(clients)
}

/// Revokes the presented token on all nodes. The revocation is durable once this responds.
pub(crate) async fn log_out(
    Extension(list): Extension<RevocationList>,
    caller: Authenticated,
) -> Result<StatusCode, Rejection> {
    list.revoke(Revocation::of_token(caller.token_id(), caller.expires_at()))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revokes all tokens that the subject has so far.
async fn log_out_everywhere(
    Extension(list): Extension<RevocationList>,
    caller: Authenticated,
) -> Result<StatusCode, Rejection> {
    let theirs = caller.subject_key().ok_or(Reason::MissingClaim)?;
    let rule = Revocation::all_of(theirs)?;
    list.revoke(rule).await?;
    Ok(StatusCode::NO_CONTENT)
}
