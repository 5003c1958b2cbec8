//! The catalog: public, with an optional token, and with a limited number of uses.

use axum::{extract, http::StatusCode};
use tower_revoke::Authenticated;

use crate::app::Customer;

const PRICES: [(&str, u32); 3] = [("coffee", 9), ("tea", 4), ("water", 1)];

/// Needs no token.
pub(crate) async fn welcome() -> &'static str {
    "a shop; its prices are at /catalog\n"
}

/// Takes an optional token and greets its customer by name. An invalid token is rejected.
pub(crate) async fn prices(caller: Option<Authenticated<Customer>>) -> String {
    let name = caller.as_ref().map_or("guest", |caller| &caller.sub);
    let prices = PRICES.map(|(item, price)| format!("{item} {price}\n"));
    format!("prices for {name}\n{}", prices.concat())
}

/// Answers three times per token. A 404 returns the use.
pub(crate) async fn quote(
    extract::Path(item): extract::Path<String>,
) -> Result<String, StatusCode> {
    let price = PRICES.iter().find(|(name, _)| *name == item);
    let (item, price) = price.ok_or(StatusCode::NOT_FOUND)?;
    Ok(format!("{item} for {price}, if you buy today\n"))
}
