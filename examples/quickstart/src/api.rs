//! The API as a team would write it, with the whole stack.

use std::net::SocketAddr;

use axum::{
    Router,
    body::Body,
    extract::{self, State},
    http::{HeaderMap, Request, StatusCode, Uri},
    response::Response,
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::stream;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_http::trace::TraceLayer;
use tower_revoke::{
    Authenticated, JwtVerifier, Monitor, Outbound, OutboundAuthorization,
    OutboundAuthorizationLayer, OutboundBody, PreserveAuthorizationLayer, RequireBearerLayer,
    Revocation, RevocationList, RevokeAfterResponseLayer, UseLimitLayer, core::BoxError,
};

#[derive(Deserialize)]
struct MyClaims {
    sub: String,
}

/// The reason that is stored with the revocation of a user who has logged out.
pub(crate) const LOGGED_OUT: &str = "log out everywhere";

type HttpClient = OutboundAuthorization<Client<HttpConnector, OutboundBody<Body>>>;

#[derive(Clone)]
struct Upstreams {
    client: HttpClient,
    named: SocketAddr,
    other: SocketAddr,
}

/// Returns the API: verifies tokens with the keys that `issuer` publishes, counts calls, and
/// forwards the `Authorization` header to `named` only.
pub(crate) fn router(
    issuer: &str,
    list: RevocationList,
    monitor: &Monitor,
    named: SocketAddr,
    other: SocketAddr,
) -> Result<Router, BoxError> {
    let tokens = JwtVerifier::discover(issuer)
        .audience("orders")
        .revocations(list.clone())
        .build()?;
    let outbound =
        OutboundAuthorizationLayer::strip().upstream(&named.to_string(), Outbound::keep())?;
    let upstreams = Upstreams {
        client: outbound.layer(Client::builder(TokioExecutor::new()).build_http()),
        named,
        other,
    };
    // The outermost first, in one `.layer`: axum boxes each route once per `.layer`.
    let layers = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(monitor.layer("api"))
        .layer(PreserveAuthorizationLayer::new())
        .layer(RequireBearerLayer::new(tokens));
    Ok(Router::new()
        .route("/orders", get(orders))
        .route("/invoice", get(invoice).layer(UseLimitLayer::single()))
        .route(
            "/report",
            get(report).layer(RevokeAfterResponseLayer::new()),
        )
        .route("/logout", post(logout).with_state(list.clone()))
        .route("/upstream/{name}", get(upstream).with_state(upstreams))
        .route("/ready", get(ready).with_state(list))
        .layer(layers))
}

/// Returns a backend that responds with the `Authorization` that it received.
pub(crate) fn backend() -> Router {
    Router::new().fallback(
        async |headers: HeaderMap| match headers.get("authorization") {
            Some(value) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            None => "none".to_owned(),
        },
    )
}

async fn orders(caller: Authenticated<MyClaims>) -> String {
    format!("orders of {}", caller.sub)
}

async fn invoice(caller: Authenticated<MyClaims>) -> String {
    format!("the one look of {} at the invoice", caller.sub)
}

/// Streams a body without a length: its end is the terminator of the stream.
async fn report() -> Body {
    let pieces =
        ["a report ", "in three ", "pieces"].map(|piece| Ok::<_, BoxError>(Bytes::from(piece)));
    Body::from_stream(stream::iter(pieces))
}

/// Revokes all tokens of the caller, on every node that shares the store.
async fn logout(
    State(list): State<RevocationList>,
    caller: Authenticated,
) -> Result<&'static str, StatusCode> {
    let everything = caller.subject_key().ok_or(StatusCode::BAD_REQUEST)?;
    let revocation = Revocation::all_of(everything)
        .map_err(|_| StatusCode::BAD_REQUEST)?
        .by(caller.subject().unwrap_or_default())
        .because(LOGGED_OUT);
    list.revoke(revocation)
        .await
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok("logged out everywhere")
}

async fn ready(State(list): State<RevocationList>) -> StatusCode {
    match list.ready().await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Forwards the call, as a proxy does.
async fn upstream(
    State(upstreams): State<Upstreams>,
    extract::Path(name): extract::Path<String>,
    mut request: Request<Body>,
) -> Result<Response, StatusCode> {
    let to = match name.as_str() {
        "named" => upstreams.named,
        _ => upstreams.other,
    };
    *request.uri_mut() = format!("http://{to}/")
        .parse::<Uri>()
        .map_err(|_| StatusCode::BAD_GATEWAY)?;
    request.headers_mut().remove("host");
    let answer = upstreams.client.oneshot(request).await;
    let answer = answer.map_err(|_| StatusCode::BAD_GATEWAY)?;
    Ok(answer.map(Body::new))
}
