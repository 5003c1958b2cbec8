//! A small API on axum, with a route for each way of using a token; see [`router`].
//!
//! It is a library so that tests can run it over a failing store. The program is in `main.rs`.

mod account;
mod app;
mod catalog;
mod download;
mod events;
mod health;
mod orders;
mod report;
mod shutdown;

use axum::{
    Router,
    extract::Request,
    routing::{get, post},
};
use tower::ServiceBuilder;
use tower_http::trace::{DefaultOnResponse, TraceLayer};
use tower_revoke::{
    RequireBearerLayer, RequireClaimsLayer, ResponseHead, RevokeAfterResponseLayer,
    TokenLifetimeLayer, UseLimitLayer,
};
use tracing::{Level, Span, info_span};

pub use self::{
    app::App,
    download::write_export,
    shutdown::{Limits, Stopped, serve},
};

/// Returns all routes, with the tokens that they require.
pub fn router(app: App) -> Router {
    let bearer = RequireBearerLayer::new(app.tokens.clone());
    Router::new()
        .route("/", get(catalog::welcome))
        .route("/ready", get(health::ready))
        .route(
            "/catalog",
            get(catalog::prices).layer(bearer.clone().optional()),
        )
        .route("/download", download::route(&app, bearer.clone()))
        .route("/events", events::by_ticket(&app))
        .nest("/api", api(&app).layer(bearer.scope("api")))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(span)
                .on_response(DefaultOnResponse::new().level(Level::INFO)),
        )
        .with_state(app)
}

/// Returns the routes that require a token with the scope `api`.
fn api(app: &App) -> Router<App> {
    let once = ServiceBuilder::new()
        // Outside of the layer that takes the use, so that a rejection takes none.
        .layer(RequireClaimsLayer::scope("invoices"))
        .layer(UseLimitLayer::single().pending_revocations(&app.pending));
    let three_times = UseLimitLayer::uses::<3>()
        .return_if(|head: &ResponseHead<'_>| head.status == 404)
        .pending_revocations(&app.pending);
    let until_its_end = RevokeAfterResponseLayer::new()
        .deadline(shutdown::CALLS_END_WITHIN)
        .pending_revocations(&app.pending);
    Router::new()
        .route(
            "/orders",
            // A layer applies to the methods added before it: reading needs no more than `api`.
            post(orders::place)
                .layer(RequireClaimsLayer::scope("orders:write"))
                .get(orders::mine),
        )
        .route("/invoice", get(orders::invoice).layer(once))
        .route("/quote/{item}", get(catalog::quote).layer(three_times))
        .route("/report", get(report::csv).layer(until_its_end))
        .route(
            "/events",
            get(events::stream).layer(TokenLifetimeLayer::new()),
        )
        .route("/tickets", post(events::ticket))
        .route("/log-out-everywhere", post(account::log_out_everywhere))
}

/// Logs only the path: the query may have a token.
fn span(request: &Request) -> Span {
    info_span!("call", method = %request.method(), path = request.uri().path())
}
