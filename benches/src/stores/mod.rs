//! Durable uses per second of each store, compared with its bare driver.

mod cassandra;
mod embedded;
mod mariadb;
mod postgres;
mod redis;
mod scale;
mod sqlite;

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tower_revoke::{
    Clock, TokenId,
    core::{Store, Use, UseId, UseOutcome},
};

use crate::rounds::{Outcome, median};

const CALLERS: [u64; 3] = [1, 32, 256];

/// The time of one measurement: long enough to average over the latency of a busy disk.
const SLICE: Duration = Duration::from_millis(500);

/// The remaining lifetime of a token.
const LIFE: Duration = Duration::from_secs(3600);

/// A way to make uses durable.
trait Claims: Send + Sync + 'static {
    /// Takes the only use of a token that no other caller uses.
    fn take_use(&self, use_: Use) -> impl Future<Output = Outcome<()>> + Send;
}

/// A store of this project.
struct Ours<S>(S);

impl<S: Store> Claims for Ours<S> {
    async fn take_use(&self, use_: Use) -> Outcome<()> {
        match self.0.take_use(&use_, Clock::system().now()).await {
            Ok(UseOutcome::Taken { left: 0 }) => Ok(()),
            other => Err(format!("a new use got {other:?}")),
        }
    }
}

/// Measures all stores, or the named one.
pub fn run(quick: bool, named: Option<&str>) -> Outcome<()> {
    let rounds = if quick { 3 } else { 9 };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    println!("Durable uses a second, median of {rounds} rounds in which all take turns");
    if named.is_none_or(|name| name == "embedded") {
        runtime.block_on(embedded::measure(rounds))?;
    }
    if named.is_none_or(|name| name == "sqlite") {
        runtime.block_on(sqlite::measure(rounds))?;
    }
    if named.is_none_or(|name| name == "redis") {
        runtime.block_on(redis::measure(rounds))?;
    }
    if named.is_none_or(|name| name == "postgres") {
        runtime.block_on(postgres::measure(rounds))?;
    }
    if named.is_none_or(|name| name == "mariadb") {
        runtime.block_on(mariadb::measure(rounds))?;
    }
    if named.is_none_or(|name| name == "cassandra") {
        runtime.block_on(cassandra::measure(rounds))?;
    }
    Ok(())
}

/// Measures what `count` revocations take in the stores of one machine.
pub fn scale(count: u64) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    println!("Many live revocations, on a disk that flushes");
    runtime.block_on(embedded::hold_many(count))?;
    runtime.block_on(sqlite::hold_many(count))?;
    runtime.block_on(redis::hold_many(count))?;
    runtime.block_on(postgres::hold_many(count))?;
    runtime.block_on(mariadb::hold_many(count))?;
    runtime.block_on(cassandra::hold_many(count))
}

/// Returns the uses per second of this many concurrent callers, each with one use at a time.
async fn rate<C: Claims>(uses: &Arc<C>, callers: u64) -> Outcome<f64> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let until = Some(Clock::system().now().saturating_add(LIFE));
    let started = Instant::now();
    let one = |_| {
        let uses = uses.clone();
        tokio::spawn(async move {
            let mut made = 0.0;
            while started.elapsed() < SLICE {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                let token = TokenId::of_jwt("benches", &number.to_string());
                let id = UseId::from_bytes([7; 16]);
                let use_ = Use::new(token, id, NonZeroU32::MIN, until);
                uses.take_use(use_).await?;
                made += 1.0;
            }
            Ok::<f64, String>(made)
        })
    };
    let callers: Vec<_> = (0..callers).map(one).collect();
    let mut made = 0.0;
    for caller in callers {
        made += caller.await.map_err(|error| error.to_string())??;
    }
    Ok(made / started.elapsed().as_secs_f64())
}

/// Prints a line of the table. The first rate is the one that others are compared with.
fn print_row(callers: u64, names: &[&str], rates: &[Vec<f64>]) {
    print!("  {callers:>4} callers");
    for (name, rates_of) in names.iter().zip(rates) {
        let pairs = rates_of.iter().zip(&rates[0]);
        let ratios: Vec<f64> = pairs.map(|(own, base)| own / base).collect();
        print!("   {name} {:.0} ({:.2})", median(rates_of), median(&ratios));
    }
    println!();
}
