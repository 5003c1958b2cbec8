//! Counts the instructions and allocations of a request with a token that was seen before, with and
//! without each layer, and of one with a new token. Other programs on the machine don't change these
//! numbers, as they do times.
//!
//! Each row runs in a process of its own under `valgrind --tool=callgrind`, which counts only while
//! [`send`] runs. The results are compared with those of `instructions.txt`, which `--write` replaces.

use std::{collections::BTreeMap, env, fmt::Write as _, fs, process::Command};

use http::{HeaderValue, StatusCode};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceBuilder;
use tower_revoke::{MonitorLayer, PreserveAuthorizationLayer};
use tower_revoke_testing::TestAlgorithm;

use crate::{
    alloc::{self, Allocated},
    ours::{self, Cache},
    rounds::Outcome,
    router::{bare, boxed, route},
    target::{Statuses, Target},
    tokens::{self, Tokens},
};

/// The first argument of a process that sends the requests of one row.
pub const REPEAT: &str = "repeat";

const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");
const ROWS: [&str; 9] = [
    BARE,
    "preserve",
    BEARER,
    INTROSPECTED,
    "preserve, bearer",
    "preserve, monitor, bearer",
    "monitor",
    NEW,
    UNCACHED,
];

const BARE: &str = "bare router";
const BEARER: &str = "bearer";

/// The authorization server was asked about the token, and its answer is cached.
const INTROSPECTED: &str = "bearer, introspected";

/// By how much an introspected token may cost more than a JWT, without the router's part.
const INTROSPECTION: f64 = 1.1;

/// Rows in which each token is sent once, so that it is verified: HS256, the cheapest signature.
const NEW: &str = "bearer, every token new";
const UNCACHED: &str = "bearer, without a cache";

/// The number of requests of a row.
const REQUESTS: usize = 2_000;

/// By how much a row may exceed the kept number: hash seeds differ between processes.
const SPREAD: f64 = 1.02;

/// What one request of a row takes.
#[derive(Clone, Copy)]
struct Cost {
    instructions: u64,
    allocations: u64,
    bytes: u64,
}

/// Prints the costs of all rows beside those of the file, or replaces the file.
///
/// # Errors
/// If a row costs more than the file says.
pub fn run(is_written: bool) -> Outcome<()> {
    let kept = read_kept();
    let mut written = "row | instructions | allocations | bytes\n".to_owned();
    let mut worse = Vec::new();
    let mut costs = BTreeMap::new();
    println!("One GET, per request; with a token that was seen before, but in the last two rows:");
    println!(
        "{:<28}{:>14}{:>10}{:>13}{:>8}",
        "", "instructions", "kept", "allocations", "bytes"
    );
    for row in ROWS {
        let cost = measure(row)?;
        let Cost {
            instructions,
            allocations,
            bytes,
        } = cost;
        costs.insert(row, instructions);
        let before = kept.get(row);
        let shown = before.map_or("-".to_owned(), |kept| kept.instructions.to_string());
        println!("{row:<28}{instructions:>14}{shown:>10}{allocations:>13}{bytes:>8}");
        let _ = writeln!(written, "{row} | {instructions} | {allocations} | {bytes}");
        if before.is_some_and(|kept| is_worse(cost, *kept)) {
            worse.push(row);
        }
    }
    let [bare, jwt, introspected] =
        [BARE, BEARER, INTROSPECTED].map(|row| costs.get(row).map_or(0.0, |cost| *cost as f64));
    let ratio = (introspected - bare) / (jwt - bare);
    println!(
        "An introspected token takes {ratio:.2} times the instructions of a JWT, without the router's \
         (at most {INTROSPECTION})"
    );
    if ratio > INTROSPECTION {
        worse.push(INTROSPECTED);
    }
    if is_written {
        return fs::write(KEPT, written).map_err(|error| format!("{KEPT}: {error}"));
    }
    match worse[..] {
        [] => Ok(()),
        _ => Err(format!("more than {KEPT} says: {}", worse.join("; "))),
    }
}

fn is_worse(cost: Cost, kept: Cost) -> bool {
    cost.instructions as f64 > kept.instructions as f64 * SPREAD
        || cost.allocations > kept.allocations
}

/// A line that can't be read is left out, as if the row were new.
fn read_kept() -> BTreeMap<String, Cost> {
    let text = fs::read_to_string(KEPT).unwrap_or_default();
    let line = |line: &str| {
        let (row, numbers) = line.split_once(" | ")?;
        let numbers = numbers.split(" | ").map(|number| number.parse().ok());
        let [instructions, allocations, bytes] = numbers.collect::<Option<Vec<u64>>>()?[..] else {
            return None;
        };
        let cost = Cost {
            instructions,
            allocations,
            bytes,
        };
        Some((row.to_owned(), cost))
    };
    text.lines().filter_map(line).collect()
}

/// Runs a row under valgrind.
fn measure(row: &str) -> Outcome<Cost> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*instructions::send*")
        .arg(program)
        .args([REPEAT, row, &REQUESTS.to_string()])
        .output()
        .map_err(|error| format!("valgrind, of the package of that name: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let counted = told.lines().find_map(|line| {
        let (_, number) = line.split_once("Collected : ")?;
        number.trim().parse::<u64>().ok()
    });
    let printed = String::from_utf8_lossy(&output.stdout);
    let allocated = printed.trim().split_once(' ').and_then(|(calls, bytes)| {
        let (calls, bytes) = (calls.parse().ok()?, bytes.parse().ok()?);
        Some(Allocated { calls, bytes })
    });
    match (output.status.success(), counted, allocated) {
        (true, Some(counted), Some(Allocated { calls, bytes })) => Ok(Cost {
            instructions: counted / REQUESTS as u64,
            allocations: calls.div_ceil(REQUESTS as u64),
            bytes: bytes / REQUESTS as u64,
        }),
        _ => Err(format!("{row}: {}\n{told}", output.status)),
    }
}

/// What is measured.
#[inline(never)]
fn send(
    runtime: &Runtime,
    target: &mut dyn Target,
    tokens: &[HeaderValue],
    count: usize,
) -> Statuses {
    runtime.block_on(target.send(tokens, 0, count))
}

/// Sends `count` requests to one row, after some that warm it up, and prints what they allocated.
pub fn repeat(row: &str, count: &str) -> Outcome<()> {
    const WARM_UP: usize = 100;
    let count: usize = count.parse().map_err(|_| format!("{count} is no number"))?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let issuer = tokens::issuer(TestAlgorithm::HS256);
    let tokens = match row {
        NEW | UNCACHED => Tokens::sign(&issuer, WARM_UP + count),
        _ => Tokens::sign(&issuer, 1),
    };
    let (first, tokens) = tokens
        .good
        .split_at(tokens.good.len().saturating_sub(count).max(1));
    let tokens = if tokens.is_empty() { first } else { tokens };
    let store = runtime.block_on(ours::store(0));
    let cache = if row == UNCACHED {
        Cache::None
    } else {
        Cache::Default
    };
    let bearer = || ours::bearer(&issuer, &store, cache);
    let preserve = PreserveAuthorizationLayer::new();
    let monitor = MonitorLayer::service("orders");
    let layers = ServiceBuilder::new();
    let mut target: Box<dyn Target> = match row {
        BARE => bare(),
        "preserve" => boxed(route().layer(preserve)),
        BEARER | NEW | UNCACHED => boxed(route().layer(bearer())),
        INTROSPECTED => boxed(route().layer(ours::introspected(&store))),
        "preserve, bearer" => boxed(route().layer(layers.layer(preserve).layer(bearer()))),
        "preserve, monitor, bearer" => {
            boxed(route().layer(layers.layer(preserve).layer(monitor).layer(bearer())))
        }
        "monitor" => boxed(route().layer(monitor)),
        _ => return Err(format!("there is no row {row}")),
    };
    runtime.block_on(target.send(first, 0, WARM_UP));
    alloc::start();
    let statuses = send(&runtime, &mut *target, tokens, count);
    let Allocated { calls, bytes } = alloc::stop();
    println!("{calls} {bytes}");
    match statuses.are_all(StatusCode::OK, count) {
        true => Ok(()),
        false => Err(format!("{row}: {statuses} in place of 200")),
    }
}
