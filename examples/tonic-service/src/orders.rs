//! The handlers: one of each of the four kinds of gRPC methods.

use std::time::Duration;

use futures_util::{StreamExt, stream::BoxStream};
use tokio_stream::wrappers::IntervalStream;
use tonic::{Code, Request, Response, Status, Streaming};
use tower_revoke::{Authenticated, Rejection};

use crate::proto::{Line, Order, Price, WatchRequest, orders_server::Orders};

/// How often a watched price is sent.
const TICK: Duration = Duration::from_millis(50);

/// Sells tea and coffee.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shop;

type Prices = BoxStream<'static, Result<Price, Status>>;

#[tonic::async_trait]
impl Orders for Shop {
    type WatchStream = Prices;
    type QuoteStream = Prices;

    async fn place(&self, request: Request<Line>) -> Result<Response<Order>, Status> {
        let customer = caller(&request)?;
        let cents = total(request.get_ref())?;
        Ok(Response::new(Order {
            customer,
            lines: 1,
            cents,
        }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Prices>, Status> {
        let WatchRequest { article, times } = request.into_inner();
        price(&article)?;
        let ticks = IntervalStream::new(tokio::time::interval(TICK));
        let prices = ticks.map(move |_| {
            Ok(Price {
                cents: price(&article)?,
            })
        });
        Ok(Response::new(match times {
            0 => prices.boxed(),
            times => prices.take(times as usize).boxed(),
        }))
    }

    async fn import(&self, request: Request<Streaming<Line>>) -> Result<Response<Order>, Status> {
        let mut order = Order {
            customer: caller(&request)?,
            ..Order::default()
        };
        let mut lines = request.into_inner();
        while let Some(line) = lines.message().await? {
            order.lines += 1;
            order.cents += total(&line)?;
        }
        Ok(Response::new(order))
    }

    async fn quote(&self, request: Request<Streaming<Line>>) -> Result<Response<Prices>, Status> {
        let lines = request.into_inner();
        // The first error ends the stream, and its status is sent in the trailers.
        let quotes = lines.map(|line| {
            Ok(Price {
                cents: total(&line?)?,
            })
        });
        Ok(Response::new(quotes.boxed()))
    }
}

/// The subject of the verified token.
fn caller<T>(request: &Request<T>) -> Result<String, Status> {
    let caller = Authenticated::of(request.extensions()).map_err(|error| rejection(&error))?;
    caller
        .subject()
        .map(str::to_owned)
        .ok_or_else(|| Status::unauthenticated("the token names nobody"))
}

fn rejection(rejection: &Rejection) -> Status {
    let code = Code::from(i32::from(rejection.reason().grpc_status()));
    Status::new(code, rejection.to_string())
}

fn total(line: &Line) -> Result<u64, Status> {
    match line.quantity {
        0 => Err(Status::invalid_argument("the quantity is zero")),
        quantity => Ok(price(&line.article)? * u64::from(quantity)),
    }
}

fn price(article: &str) -> Result<u64, Status> {
    match article {
        "tea" => Ok(450),
        "coffee" => Ok(780),
        "saffron" => Err(Status::unavailable("the spice market doesn't answer")),
        _ => Err(Status::not_found("there is no such article")),
    }
}
