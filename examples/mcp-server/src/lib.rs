//! An MCP server (streamable HTTP) as a protected resource.
//!
//! * Clients without a token are sent to its metadata (RFC 9728), which names the issuer and the scope.
//! * Tokens come in the header of every request, are meant for this server and no other, and go no
//!   further (MCP, "Token Handling").
//! * A session belongs to a client of an issuer and a subject, and outlives each of their tokens.
//! * The tool `forecast` takes the only use of the token: a session is many requests, so no layer can.
//!   From then on the whole session answers 401 until the client comes with another token. So let clients
//!   ask for a token for each paid call.

mod session;

use std::sync::Arc;

use axum::{
    Router,
    http::{Uri, request::Parts},
    middleware::from_fn_with_state,
};
use rmcp::{
    ErrorData,
    handler::server::tool::Extension,
    tool, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use tower::ServiceBuilder;
use tower_revoke::{
    Authenticated, JwtVerifier, Rejection, RequireBearerLayer, RevocationList, core::BoxError,
};

use crate::session::{Sessions, bind_session};

/// Returns the server whose URL is `resource`, such as `https://mcp.example.com/mcp`, for tokens of
/// `issuer`.
///
/// # Errors
/// If one of them is not a URL that can be used.
pub fn app(issuer: &str, resource: &str, list: RevocationList) -> Result<Router, BoxError> {
    let tokens = JwtVerifier::discover(issuer)
        .audience(resource)
        .revocations(list)
        .build()?;
    let bearer = RequireBearerLayer::new(tokens)
        .resource(resource)?
        .scope("forecast")
        .forbid_forwarding();
    let metadata = bearer.metadata()?;
    let url: Uri = resource.parse()?;
    let config = StreamableHttpServerConfig::default().with_allowed_hosts(url.host());
    let sessions = Arc::new(LocalSessionManager::default());
    let server = StreamableHttpService::new(|| Ok(Forecasts), sessions, config);
    let layers = ServiceBuilder::new()
        .layer(bearer)
        .layer(from_fn_with_state(Sessions::new()?, bind_session));
    Ok(Router::new()
        .route_service(url.path(), server)
        .layer(layers)
        .route_service(&metadata.path(), metadata))
}

#[derive(Clone, Debug)]
struct Forecasts;

#[tool_router(server_handler)]
impl Forecasts {
    #[tool(description = "Names the cities that have a forecast")]
    async fn cities(&self) -> String {
        "Bergen, Genoa".to_owned()
    }

    #[tool(description = "Returns tomorrow's weather. Each call costs a token")]
    async fn forecast(&self, Extension(parts): Extension<Parts>) -> Result<String, ErrorData> {
        let rejected = |why: Rejection| ErrorData::invalid_request(why.to_string(), None);
        let caller = Authenticated::of(&parts.extensions).map_err(rejected)?;
        // Dropping the permit spends the use.
        let _permit = caller.take_use_of::<1>().await.map_err(rejected)?;
        Ok("rain".to_owned())
    }
}
