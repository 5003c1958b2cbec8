//! The router of every row: axum 0.8 with one GET.

use axum::{Router, body::Body, routing::get};

use crate::target::{Serving, Target};

async fn answer() -> &'static str {
    "ok"
}

pub fn route() -> Router {
    Router::new().route("/", get(answer))
}

/// Boxes the router with its state applied, as `axum::serve` runs it. Otherwise axum would build
/// the routes again for each request.
pub fn boxed(router: Router) -> Box<dyn Target> {
    Box::new(Serving::<_, Body>::new(router.with_state::<()>(())))
}

pub fn bare() -> Box<dyn Target> {
    boxed(route())
}
