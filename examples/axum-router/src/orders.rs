//! Orders, each visible to its customer only.

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use tower_revoke::Authenticated;

use crate::app::{App, Customer};

/// All orders, in place of a database.
#[derive(Debug, Default)]
pub(crate) struct Orders(Mutex<Vec<Order>>);

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Order {
    customer: String,
    item: String,
}

#[derive(Deserialize)]
pub(crate) struct NewOrder {
    item: String,
}

impl Orders {
    pub(crate) fn of(&self, customer: &str) -> Vec<Order> {
        let all = self.all();
        let theirs = all.iter().filter(|order| order.customer == customer);
        theirs.cloned().collect()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Order>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) async fn mine(
    State(app): State<App>,
    caller: Authenticated<Customer>,
) -> Json<Vec<Order>> {
    Json(app.orders.of(&caller.sub))
}

pub(crate) async fn place(
    State(app): State<App>,
    caller: Authenticated<Customer>,
    Json(NewOrder { item }): Json<NewOrder>,
) -> (StatusCode, Json<Order>) {
    let order = Order {
        customer: caller.sub.clone(),
        item,
    };
    app.orders.all().push(order.clone());
    (StatusCode::CREATED, Json(order))
}

/// Answers once per token.
pub(crate) async fn invoice(State(app): State<App>, caller: Authenticated<Customer>) -> String {
    let orders = app.orders.of(&caller.sub).len();
    format!("{} owes us for {orders} orders\n", caller.sub)
}
