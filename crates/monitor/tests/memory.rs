//! Measures what a full monitor takes: 10,000 clients of 5 services, and a busy hour. In a program of its
//! own, so that no other test allocates meanwhile.

#![expect(clippy::print_stdout, reason = "it prints what it has measured")]

use std::{convert::Infallible, fs, time::Duration};

use futures_util::FutureExt;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tower::{Layer, Service, service_fn};
use tower_revoke_core::{Authenticated, Claims, Clock, TokenId, UnixTime, VerifiedToken};
use tower_revoke_monitor::Monitor;

const SERVICES: [&str; 5] = ["orders", "invoices", "stock", "search", "users"];
const CLIENTS: u64 = 10_000;
/// The clients of which a minute is kept.
const BUSY: u64 = 1_000;
const LIMIT: u64 = 64 << 20;

/// Returns the resident memory of this process in bytes.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_u64) * 4_096
}

fn caller(number: u64) -> Authenticated {
    let claims = json!({"iss": "https://id.example.com", "sub": format!("subject-{number:020}")});
    let claims = Claims::from_value(claims).expect("claims");
    let token = VerifiedToken::new(TokenId::of_jwt("issuer", "1"), claims, Duration::ZERO);
    Authenticated::new(token.into())
}

#[cfg(target_os = "linux")]
#[test]
fn ten_thousand_clients_of_five_services_and_an_hour_take_at_most_64_mib() {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000));
    let callers = (0..CLIENTS).map(caller).collect::<Vec<_>>();
    let before = resident();
    let monitor = Monitor::builder().clock(clock).build();
    let mut services = SERVICES.map(|name| {
        let answer = |_: Request<()>| async {
            Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::from("hello")))
        };
        monitor.layer(name).layer(service_fn(answer))
    });
    let methods = [Method::GET, Method::PUT, Method::POST, Method::DELETE];
    let mut call = |service: usize, method: usize, client: u64| {
        let mut request = Request::new(());
        *request.method_mut() = methods[method].clone();
        let caller = callers[client as usize].clone();
        request.extensions_mut().insert(caller);
        let response = services[service].call(request).now_or_never();
        let body = response.expect("at once").expect("an answer").into_body();
        // From 1 ms to 32 ms: a minute has 1,000 clients of each service.
        hand.advance(Duration::from_millis(1 << (client % 6)));
        body.collect()
            .now_or_never()
            .expect("at once")
            .expect("a body");
    };
    for client in 0..CLIENTS {
        (0..SERVICES.len()).for_each(|service| call(service, 0, client));
    }
    // More than an hour, each minute of which has busy clients of its own, and each step all methods.
    for minute in 0..61 {
        for busy in 0..BUSY {
            let client = (minute * BUSY + busy) % CLIENTS;
            (0..SERVICES.len()).for_each(|service| call(service, busy as usize % 4, client));
        }
    }
    let taken = resident().saturating_sub(before);
    let snapshot = monitor.snapshot();
    let clients = snapshot
        .services
        .values()
        .map(|service| service.clients.len());
    assert_eq!(clients.sum::<usize>() as u64, CLIENTS * 5);
    let history = monitor.history(Duration::from_secs(3_600));
    let orders = &history.services["orders"];
    assert!(orders.all.steps.len() > 600, "{}", orders.all.steps.len());
    assert_eq!(orders.methods.len(), 4);
    println!(
        "{CLIENTS} clients of 5 services and the last hour: {} KiB",
        taken / 1_024
    );
    assert!(taken <= LIMIT, "{taken} bytes");
}
